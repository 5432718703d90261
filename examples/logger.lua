-- Loggers: levels, fields, tracebacks, and a logger of one's own. The files are in logs/ beside this script: open
-- logs/app.log for everything, logs/errors.log for what went wrong.
--
--   scripts/run examples/logger.lua
--   panini request payments.take '{"order": 17, "amount": 12.5}'

local app = panini.app{ service_name = "payments", logger_files_path = "logs" }

-- Another name: it is what people filter by, and config/log_config.json can send it to a file of its own.
local audit = panini.get_logger("audit")

print("print is an information of the service, too")

local function charge(order, amount)
    if amount > 1000 then error("the limit is 1000") end
    return order .. "-" .. amount
end

app.listen("payments.take", function(msg)
    local order, amount = msg.data.order, msg.data.amount
    app.logger.debug("charging", { order = order, amount = amount })
    local ok, receipt = pcall(charge, order, amount)
    if not ok then
        -- Like error, with the traceback of where it is called.
        app.logger.exception("not charged", { order = order, reason = receipt })
        return nil, { code = 402, message = "not charged" }
    end
    app.logger.info("charged", { order = order, amount = amount })
    audit.info("payment", { order = order, amount = amount, receipt = receipt })
    if amount == 0 then app.logger.warning("nothing was paid", { order = order }) end
    return { receipt = receipt }
end)
