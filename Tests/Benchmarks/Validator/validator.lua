-- CPU time of validating 20 nested fields; best of several rounds. Run with: panini check Tests/Benchmarks/Validator/validator.lua
local app = panini.app{ service_name = "benchmark" }

local fields = {}
for i = 1, 5 do
    fields["text" .. i] = { type = "string", min = 1, max = 20 }
    fields["whole" .. i] = { type = "integer", min = 0, max = 100 }
end
local inner = panini.validator(fields)
local outer = panini.validator{
    first = { type = "string" },
    second = { type = "number" },
    third = { type = "boolean" },
    fourth = { type = "string", enum = { "a", "b" } },
    fifth = { type = "integer", many = true },
    sixth = { type = "string", pattern = "%l+%-%d+" },
    seventh = { type = "integer" },
    eighth = { type = "string", optional = true },
    ninth = { type = "any" },
    inner = { type = inner },
}
local value = {
    first = "x", second = 1.5, third = true, fourth = "b", fifth = panini.array{ 1, 2, 3 }, sixth = "tea-17", seventh = 7,
    eighth = "y", ninth = 1, inner = {},
}
for i = 1, 5 do
    value.inner["text" .. i] = "some text"
    value.inner["whole" .. i] = i
end
assert(outer:validate(value))

local best = math.huge
for _ = 1, 12 do
    local begin = os.clock()
    for _ = 1, 20000 do
        outer:validate(value)
    end
    best = math.min(best, (os.clock() - begin) / 20000)
end
print(string.format("20 nested fields: %.0f ns", best * 1e9))
