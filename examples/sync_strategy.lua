-- The "sync" strategy: handlers, tasks and timers of this service run one at a time, each to its end, even
-- while one waits. For people who want to read, wait and write without thinking of others in between.
--
--   scripts/run examples/sync_strategy.lua
--   panini request account.deposit '{"amount": 10}'      → {"balance":10}
--   panini request account.deposit '{"amount": 5}'       → {"balance":15}

local app = panini.app{ service_name = "account", app_strategy = "sync" }

local balance = 0

app.listen("account.deposit", function(msg)
    -- Read, wait, write: with the default strategy two deposits at once would both read the old balance
    -- here, and one of them would be lost. "sync" makes it safe.
    local before = balance
    app.sleep(0.05)
    balance = before + msg.data.amount
    return { balance = balance }
end)
