// What went wrong in a script, as a value that outlives the Lua state. Knows nothing of stacks and states.

/// An error of a Lua script: its text, and what else the error value told.
public struct LuaError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What sort of failure it was.
    public struct Kind: Equatable, Hashable, Sendable, CustomStringConvertible {
        private enum Value: String {
            case syntax
            case runtime
            case memory
            case errorHandler
            case conversion
            case cpu
        }

        private let value: Value

        private init(_ value: Value) {
            self.value = value
        }

        /// The text is not a Lua chunk.
        public static var syntax: Kind { Kind(.syntax) }
        /// The script raised an error, or Lua did on its behalf.
        public static var runtime: Kind { Kind(.runtime) }
        /// The state has no memory left.
        public static var memory: Kind { Kind(.memory) }
        /// An error inside the handler of an error (`xpcall`), or too deep a recursion while handling one.
        public static var errorHandler: Kind { Kind(.errorHandler) }
        /// A value has no counterpart on the other side (``LuaValue``).
        public static var conversion: Kind { Kind(.conversion) }

        /// The run took more CPU time than it may.
        public static var cpu: Kind { Kind(.cpu) }

        /// The kind's name.
        public var description: String { value.rawValue }
    }

    /// The `code` field of an error table.
    public enum Code: Equatable, Hashable, Sendable {
        /// A whole number, such as 404.
        case integer(Int64)
        /// A name, such as "timeout".
        case string(String)
    }

    /// What sort of failure it was.
    public let kind: Kind
    /// The text, as the author of the script should read it: with "path:line:" when the error value had one.
    public let message: String
    /// Lua's traceback at the place of the error, when there was one to take.
    public let traceback: String?
    /// The `code` of an error table.
    public let code: Code?
    /// Whether the error value was a table: an answer rather than an accident.
    public let isTable: Bool
    /// The `errors` of an error table as JSON; empty when there are none.
    package var errors: [UInt8] = []
    /// Why ``errors`` is empty although there is such a list: JSON cannot hold it.
    package var errorsProblem: String?

    /// Makes an error.
    ///
    /// - Parameters:
    ///   - kind: What sort of failure it is.
    ///   - message: The text for the author of the script.
    ///   - traceback: Lua's traceback.
    ///   - code: The `code` of an error table.
    ///   - isTable: Whether the error value was a table.
    public init(kind: Kind, message: String, traceback: String? = nil, code: Code? = nil, isTable: Bool = false) {
        self.kind = kind
        self.message = message
        self.traceback = traceback
        self.code = code
        self.isTable = isTable
    }

    /// The message.
    public var description: String { message }
}
