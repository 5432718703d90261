-- Live prices in the browser, without a line of Lua on their way: the page subscribes to subjects of NATS, as far as the
-- bridge permits.
--
--   scripts/run examples/http_bridge.lua          → open http://127.0.0.1:8080/
--   panini publish prices.tea '{"price": 3.5}'    → the page shows it

local app = panini.app{ service_name = "prices", web_server = true }

-- Browsers may read prices, and nothing else. Pages of other servers may not connect at all.
app.http.nats_bridge("/prices", { allow = { "prices.>" } })

local PAGE = [[
<!doctype html>
<meta charset="utf-8">
<title>Prices</title>
<p id="state">connecting</p>
<dl id="prices"></dl>
<script>
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(`${scheme}//${location.host}/prices`);
  const shown = {};
  socket.onopen = () => socket.send(JSON.stringify({ action: "subscribe", subjects: ["prices.*"] }));
  socket.onmessage = (event) => {
    const message = JSON.parse(event.data);
    if ("success" in message) {
      document.getElementById("state").textContent = message.message;
      return;
    }
    if (!shown[message.subject]) {
      const name = document.createElement("dt");
      name.textContent = message.subject;
      shown[message.subject] = document.createElement("dd");
      document.getElementById("prices").append(name, shown[message.subject]);
    }
    shown[message.subject].textContent = message.data.price;
  };
  socket.onclose = (event) => { document.getElementById("state").textContent = `closed (${event.code})`; };
</script>
]]

app.http.get("/", function()
    return panini.response{ html = PAGE }
end)

app.timer_task(1, function()
    app.publish("prices.tea", { price = 3 + math.random(0, 100) / 100 })
end)
