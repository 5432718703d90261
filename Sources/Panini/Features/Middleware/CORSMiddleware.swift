// Owns: `panini.middleware.cors`: which pages of other origins may ask (the Fetch standard's CORS protocol). Values; runs on
// the worker's thread.

import Bytes
import LuaVM
import NATSProtocol
import ScriptRuntime

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
    func cors(_ call: HostCall) throws(UsageError) -> CInt {
        let options = try LuaOptions(
            call,
            1,
            known: ["origins", "methods", "headers", "expose", "credentials", "max_age"]
        )
        let credentials = try options.flag("credentials") ?? false
        let exposed = try texts(options, "expose")?.joined(separator: ", ")
        let headers = try texts(options, "headers")?.joined(separator: ", ")
        let age = try options.integer("max_age", in: 0...86400, or: "a number of seconds from 0 to 86400") ?? 600
        let methods =
            try texts(options, "methods")?.joined(separator: ", ") ?? "GET, HEAD, POST, PUT, PATCH, DELETE"
        var origins: Set<ExactText>?
        var isOpen = false
        if case .string(let text)? = options["origins"] { isOpen = text.isExactly("*") }
        if !isOpen, let list = try texts(options, "origins") {
            if list.count == 1, list[0].isExactly("*") {
                isOpen = true
            } else {
                origins = Set(list.map(ExactText.init))
            }
            for origin in list where !origin.isExactly("*") && !Self.isOrigin(origin) {
                throw UsageError("\(call.name): \"\(origin)\" is no origin; it looks like https://shop.example")
            }
            if list.count > 1, list.contains(where: { $0.isExactly("*") }) {
                throw UsageError("\(call.name): \"*\" stands alone")
            }
        }
        guard isOpen || origins?.isEmpty == false else {
            throw UsageError(
                "\(call.name): needs origins, a list such as { \"https://shop.example\" }, or \"*\" for all"
            )
        }
        guard !(isOpen && credentials) else {
            throw UsageError("\(call.name): credentials need origins by name: browsers refuse \"*\" with them")
        }
        let middleware = CORSMiddleware(
            origins: isOpen ? nil : origins,
            methods: methods.uppercased(),  // text: told to browsers
            headers: headers,
            exposed: exposed,
            allowsCredentials: credentials,
            maximumAge: Int64(age)
        )
        return try push(middleware, call)
    }

    private static func isOrigin(_ text: String) -> Bool {
        guard let colon = text.utf8.firstIndex(of: ASCII.colon), colon > text.startIndex,
            text[colon...].begins(with: "://")
        else { return text.isExactly("null") }
        let rest = text[colon...].utf8.dropFirst(3)
        return !rest.isEmpty && !rest.contains(ASCII.slash) && !text.contains(where: \.isWhitespace)
    }

    /// The longest list of an option, in bytes.
    private static var longestList: Int { 1 << 20 }

    private func texts(_ options: LuaOptions, _ name: String) throws(UsageError) -> [String]? {
        let texts = try options.texts(name, called: "strings") {
            $0.utf8.count > Self.longestList || !$0.utf8.contains { $0 < 0x20 }
        }
        guard (texts ?? []).reduce(0, { $0 + $1.utf8.count }) <= Self.longestList else {
            throw options.must(name, "have at most \(Self.longestList) bytes in all")
        }
        return texts
    }
}
