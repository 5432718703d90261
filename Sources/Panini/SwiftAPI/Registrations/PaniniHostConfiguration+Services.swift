// Owns: the short ways to say what Swift registers, beside a script or alone. Plain values; any thread.

public import LuaVM

extension PaniniHostConfiguration {
    /// Registers listeners, timers and routes in Swift as a part of a script's service.
    ///
    /// ```swift
    /// configuration.service("orders.lua") { service in
    ///     service.listen("orders.count") { message in await store.count() }
    /// }
    /// ```
    ///
    /// - Parameters:
    ///   - script: The script's path; it is added to ``scripts`` when it is not there.
    ///   - build: Registers; a second call for the same script adds to the first.
    public mutating func service(_ script: String, _ build: (inout PaniniRegistrations) -> Void) {
        if !scripts.contains(script) { scripts.append(script) }
        build(&registrations[script, default: PaniniRegistrations()])
    }

    /// Runs a service that is written in Swift alone.
    ///
    /// ```swift
    /// configuration.service(named: "clock") { service in
    ///     service.listen("clock.now") { message in "\(ContinuousClock.now)" }
    /// }
    /// ```
    ///
    /// - Parameters:
    ///   - name: The service's name: letters, digits, `_` and `-`.
    ///   - options: Further options of `panini.app{...}`, by their names; those in ``overrides`` win. With routes
    ///     `web_server` is true unless it is given.
    ///   - build: Registers.
    public mutating func service(
        named name: String,
        options: [String: LuaValue] = [:],
        _ build: (inout PaniniRegistrations) -> Void
    ) {
        var registrations = PaniniRegistrations()
        build(&registrations)
        var options = options
        options["service_name"] = .string(name)
        if !registrations.routes.isEmpty, options["web_server"] == nil { options["web_server"] = true }
        let members = options.sorted { $0.key < $1.key }.map { (LuaValue.string($0.key), $0.value) }
        // Its place in the log and for `panini ps`; there is no such file.
        let path = "\(name).swift"
        if !scripts.contains(path) { scripts.append(path) }
        texts[path] = "panini.app\(Self.source(members))\n"
        self.registrations[path] = registrations
    }

    /// A value as Lua source.
    private static func source(_ value: LuaValue) -> String {
        switch value {
        case .nil: return "nil"
        case .null: return "panini.null"
        case .boolean(let flag): return flag ? "true" : "false"
        case .integer(let number): return "math.tointeger(\"\(number)\")"
        case .number(let number): return "tonumber(\"\(number)\")"
        case .string(let text): return source(Array(text.utf8))
        case .bytes(let bytes): return source(bytes)
        case .table(let table): return source(table.map { ($0.key, $0.value) })
        }
    }

    private static func source(_ members: [(LuaValue, LuaValue)]) -> String {
        "{ " + members.map { "[\(source($0))] = \(source($1))" }.joined(separator: ", ") + " }"
    }

    /// A string literal: what is no plain character is written by its number.
    private static func source(_ bytes: [UInt8]) -> String {
        var text = "\""
        for byte in bytes {
            if (0x20...0x7E).contains(byte), byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\") {
                text.unicodeScalars.append(Unicode.Scalar(byte))
            } else {
                let digits = String(byte)
                text += "\\" + String(repeating: "0", count: 3 - digits.count) + digits
            }
        }
        return text + "\""
    }
}
