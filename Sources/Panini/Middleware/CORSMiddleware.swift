// Owns: `panini.middleware.cors`: which pages of other origins may ask (the Fetch standard's CORS protocol). Values; runs on
// the worker's thread.

import LuaVM
import NATSProtocol

struct CORSMiddleware: PaniniMiddleware {
    let kinds: Set<PaniniMiddlewareKind> = [.httpRequest]
    /// Exact origins; nil: all of them.
    let origins: Set<ExactText>?
    let methods: String
    /// Nil: those that the page asks for.
    let headers: String?
    let exposed: String?
    let allowsCredentials: Bool
    let maximumAge: Int64

    func before(_ message: inout PaniniMiddlewareMessage) -> PaniniMiddlewareDecision {
        // The answer depends on who asks, also for caches that have it from somebody else.
        if origins != nil { message.setHeader("vary", "origin") }
        guard let origin = message.header("origin"), origins?.contains(ExactText(origin)) != false
        else { return .proceed }
        message.setHeader("access-control-allow-origin", origins == nil ? "*" : origin)
        if allowsCredentials { message.setHeader("access-control-allow-credentials", "true") }
        guard message.method == "OPTIONS", message.header("access-control-request-method") != nil else {
            if let exposed { message.setHeader("access-control-expose-headers", exposed) }
            return .proceed
        }
        message.setHeader("access-control-allow-methods", methods)
        if let headers = headers ?? message.header("access-control-request-headers") {
            message.setHeader("access-control-allow-headers", headers)
        }
        message.setHeader("access-control-max-age", String(maximumAge))
        return .stop
    }
}

extension Script {
    /// `panini.middleware.cors{ origins = {...} }`.
    func cors(_ call: HostCall) throws(Misuse) -> CInt {
        var origins: Set<ExactText>?
        var isOpen = false
        var methods = "GET, HEAD, POST, PUT, PATCH, DELETE"
        var headers: String?
        var exposed: String?
        var credentials = false
        var age: Int64 = 600
        for (key, value) in try call.options(
            1,
            known: ["origins", "methods", "headers", "expose", "credentials", "max_age"]
        ) {
            switch (key, value) {
            case ("origins", .string("*")): isOpen = true
            case ("origins", .array(let items)):
                let list = try texts(items, key, call)
                if list == ["*"] { isOpen = true } else { origins = Set(list.map(ExactText.init)) }
                for origin in list where origin != "*" && !Self.isOrigin(origin) {
                    throw Misuse("\(call.name): \"\(origin)\" is no origin; it looks like https://shop.example")
                }
                if list.count > 1, list.contains(where: { $0.isExactly("*") }) {
                    throw Misuse("\(call.name): \"*\" stands alone")
                }
            case ("methods", .array(let items)):
                methods = try texts(items, key, call).joined(separator: ", ").uppercased()  // text: told to browsers
            case ("headers", .array(let items)): headers = try texts(items, key, call).joined(separator: ", ")
            case ("expose", .array(let items)): exposed = try texts(items, key, call).joined(separator: ", ")
            case ("credentials", .boolean(let flag)): credentials = flag
            case ("max_age", .integer(let seconds)) where (0...86400).contains(seconds): age = seconds
            case ("max_age", _): throw Misuse("\(call.name): max_age must be a number of seconds from 0 to 86400")
            default: throw Misuse("\(call.name): option \"\(key)\" cannot be \(value.typeName)")
            }
        }
        guard isOpen || origins?.isEmpty == false else {
            throw Misuse("\(call.name): needs origins, a list such as { \"https://shop.example\" }, or \"*\" for all")
        }
        guard !(isOpen && credentials) else {
            throw Misuse("\(call.name): credentials need origins by name: browsers refuse \"*\" with them")
        }
        let middleware = CORSMiddleware(
            origins: isOpen ? nil : origins,
            methods: methods,
            headers: headers,
            exposed: exposed,
            allowsCredentials: credentials,
            maximumAge: age
        )
        return push(middleware, call)
    }

    private static func isOrigin(_ text: String) -> Bool {
        guard let colon = text.utf8.firstIndex(of: ASCII.colon), colon > text.startIndex,
            text[colon...].begins(with: "://")
        else { return text.isExactly("null") }
        let rest = text[colon...].utf8.dropFirst(3)
        return !rest.isEmpty && !rest.contains(ASCII.slash) && !text.contains(where: \.isWhitespace)
    }

    private func texts(_ items: [PlainValue], _ key: String, _ call: HostCall) throws(Misuse) -> [String] {
        var list: [String] = []
        for item in items {
            guard case .string(let text) = item, !text.utf8.contains(where: { $0 < 0x20 }) else {
                throw Misuse("\(call.name): \(key) must be a list of strings")
            }
            list.append(text)
        }
        return list
    }
}
