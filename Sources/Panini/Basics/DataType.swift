// Owns: what a payload is made of and becomes. A pure value.

/// How payloads become `msg.data`, and how values become payloads where a type is forced.
enum DataType: UInt8, Sendable {
    case json = 0
    case string = 1
    case bytes = 2

    init?(name: String) {
        switch name {
        case "json": self = .json
        case "string": self = .string
        case "bytes": self = .bytes
        default: return nil
        }
    }

    static let names = ["json", "string", "bytes"]
}
