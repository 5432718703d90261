// Owns: the options table of publish, request and respond. Worker's thread, during one call from Lua.

import Bytes
import LuaVM
import NATS
import NATSProtocol
import ScriptRuntime

/// Checked options of a sending call.
struct SendOptions {
    private(set) var headers: [UInt8] = []
    private var fields = NATSHeaders()
    var dataType: DataType?
    var responseDataType = DataType.json
    var replyTo: [UInt8] = []
    /// What the broker would not take, to be returned to the script.
    private(set) var refusal: CallError?
    var force = false
    var timeout = 10.0

    /// Reads the table at an index; none of it is allocated when there is no table.
    init(_ call: HostCall, _ index: CInt, known: [String]) throws(UsageError) {
        if call.isNone(index) { return }
        let options = try LuaOptions(call, index, known: known)
        if let name = try options.text("data_type") { dataType = try Self.dataType(name, call) }
        force = try options.flag("force") ?? false
        if let members = try options.table("headers") {
            fields = try Self.fields(members, call)
            headers = fields.isEmpty ? [] : fields.encoded()
        }
        if let subject = try options.text("reply_to") {
            do throws(SubjectPattern.Invalid) {
                try SubjectPattern.checkPublishable(subject)
            } catch {
                guard error.isTooLong else { throw UsageError("\(call.name): reply_to: \(error.message)") }
                refusal = CallError("too_large", "reply_to: \(error.message)")
            }
            replyTo = Array(subject.utf8)
        }
        if let name = try options.text("response_data_type") { responseDataType = try Self.dataType(name, call) }
        timeout = try options.seconds("timeout") ?? timeout
    }

    /// The subjects whose denial a publish with these options shall hear of.
    func watched(_ subject: UnsafeRawBufferPointer) -> [String] {
        let subject = String(decoding: subject, as: UTF8.self)
        return replyTo.isEmpty ? [subject] : [subject, String(decoding: replyTo, as: UTF8.self)]
    }

    static func dataType(_ name: String, _ call: HostCall) throws(UsageError) -> DataType {
        guard name.utf8.count <= 64, let type = DataType(name: name) else {
            throw UsageError(
                "\(call.name): unknown data_type \"\(name.beginning(UsageError.longest))\""
                    + suggestion(for: name, in: DataType.names)
            )
        }
        return type
    }

    /// The error of the services protocol that the headers tell of; code 0 when it has none that is a number.
    var serviceError: ReplyError? {
        guard !headers.isEmpty else { return nil }
        let text = fields["Nats-Service-Error"]
        let code = fields["Nats-Service-Error-Code"]
        guard text != nil || code != nil else { return nil }
        return ReplyError(code.flatMap { Int($0) } ?? 0, text ?? "")
    }

    /// Headers from `{ name = "value" }` or `{ name = { "first", "second" } }`.
    private static func fields(_ members: [(String, PlainValue)], _ call: HostCall) throws(UsageError) -> NATSHeaders {
        var headers = NATSHeaders()
        for (name, value) in members {
            switch value {
            case .array(let items):
                for item in items { try append(name, item, to: &headers, call) }
            default: try append(name, value, to: &headers, call)
            }
        }
        return headers
    }

    private static func append(
        _ name: String,
        _ value: PlainValue,
        to headers: inout NATSHeaders,
        _ call: HostCall
    ) throws(UsageError) {
        let text: String
        switch value {
        case .string(let string): text = string
        case .integer(let number): text = String(number)
        case .number(let number): text = String(number)
        case .boolean(let flag): text = String(flag)
        default: throw UsageError("\(call.name): header \"\(name)\" cannot be \(value.typeName)")
        }
        guard headers.add(name, text) else {
            throw UsageError(
                NATSHeaders.isValidName(name)
                    ? "\(call.name): the value of header \"\(name)\" has a line break or is not plain text"
                    : "\(call.name): \"\(name)\" is no name for a header: letters, digits and most signs, no white space, no colon"
            )
        }
    }
}
