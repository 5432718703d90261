// Owns: what validation says of itself: `panini.validator` and `panini.field`, and what editors know of them. A constant; any
// thread.

import LuaVM
import ScriptRuntime

extension Feature {
    /// `panini.validator` and `panini.field`.
    static let validation = Feature(
        ScriptValidators.self,
        functions: validationFunctions,
        types: validationTypes
    )

    /// In the table `panini`.
    private static let validationFunctions: [Function] = [
        Function(
            table: "panini",
            entry: HostFunctionEntry(
                name: "validator",
                signature: "panini.validator(fields [, options]) -> validator"
            ) {
                hostCall($0, $1, "panini.validator", takes: 2) { call throws(UsageError) in
                    try call.script.validator(call)
                }
            },
            annotation: """
                Says what a value must look like.
                @param fields table<string, panini.Field>
                @param options? panini.ValidatorOptions
                @return panini.Validator validator
                """
        ),
        Function(
            table: "panini",
            entry: HostFunctionEntry(
                name: "field",
                signature: "panini.field{ type = ..., ... } -> the same table, checked"
            ) {
                hostCall($0, $1, "panini.field", takes: 1) { call throws(UsageError) in try call.script.field(call) }
            },
            annotation: """
                Checks a validator's field at its own line, and returns it.
                @param field panini.Field
                @return panini.Field field
                """
        ),
    ]

    /// Validators, their fields, and what they find.
    private static let validationTypes = [
        """
        @class panini.Field
        @field type "string"|"integer"|"number"|"boolean"|"array"|"object"|"any"|panini.Validator
        @field many? boolean an array of that type
        @field null? boolean panini.null is allowed
        @field default? any fills a missing key
        @field optional? boolean the key may be missing
        @field min? number bound of numbers, and of the length of strings and arrays
        @field max? number
        @field enum? any[] the allowed values
        @field pattern? string a Lua pattern that the whole string must match
        @field items? panini.Field what each element of an array must be
        @field check? fun(value: any): boolean?, string?
        """,
        """
        @class panini.ValidatorOptions
        @field unknown? "pass"|"refuse" what becomes of keys that are no fields
        @field max_violations? integer (100)
        @field pattern_steps? integer (1000000)
        """,
        """
        @class panini.Validator
        @field validate fun(self: panini.Validator, value: any): any, panini.Violation[]? the value, or nil and what is wrong
        @field json_schema fun(self: panini.Validator): table JSON Schema 2020-12
        """,
        """
        @class panini.Violation
        @field path string `items[3].id`
        @field code string
        @field message string
        """,
    ]
}
