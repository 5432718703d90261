-- Errors: what a handler raises or returns is the answer, and what another service answers is an err to look at.
--
--   scripts/run examples/errors.lua
--   panini request accounts.get '{"id": 1}'              → {"id":1,"name":"Ada"}
--   panini request accounts.get '{"id": 9}'              → an error reply of code 404: no account 9
--   panini request accounts.pay '{"id": 1, "amount": 5}' → {"paid":5,"left":5}
--   panini request accounts.pay '{"id": 1, "amount": 50}'→ an error reply of code 409 with what was wrong
--   panini request accounts.greet '{"id": 9}'            → {"text":"Hello, stranger!"}
--   panini request accounts.bug                          → an error reply of code 500: internal error; the log has the rest

local app = panini.app{ service_name = "accounts" }

local accounts = { [1] = { id = 1, name = "Ada", left = 10 } }

-- An error that is raised goes out as it is when it has a code.
local function find(id)
    local account = accounts[id]
    if not account then
        error{ code = 404, message = "no account " .. tostring(id) }
    end
    return account
end

app.listen("accounts.get", function(msg)
    local account = find(msg.data.id)
    return { id = account.id, name = account.name }
end)

-- Returning nil and an error is the same; errors is a list for programs.
app.listen("accounts.pay", function(msg)
    local account, amount = find(msg.data.id), msg.data.amount
    if amount > account.left then
        return nil, {
            code = 409,
            message = "not enough left",
            errors = { { path = "amount", code = "too_much", message = "must be at most " .. account.left } },
        }
    end
    account.left = account.left - amount
    return { paid = amount, left = account.left }
end)

-- What a request gets is a value, or nil and err: nothing is raised. err.code tells what to do.
app.listen("accounts.greet", function(msg)
    local account, err = app.request("accounts.get", { id = msg.data.id }, { timeout = 2 })
    if not account then
        if err.code == 404 then
            return { text = "Hello, stranger!" }
        end
        -- Passed on, "timeout" becomes 504 and "no_responders" 503.
        return nil, err
    end
    return { text = "Hello, " .. account.name .. "!" }
end)

-- A mistake in the script is nobody else's business: the requester hears "internal error", the log has the place.
app.listen("accounts.bug", function(msg)
    local nothing
    return nothing.field
end)
