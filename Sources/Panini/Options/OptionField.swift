// Owns: the field of AppOptions that an option sets, and how a checked value becomes the field's. A value; any thread.

/// A field of ``AppOptions``, by its type.
enum OptionField: Sendable {
    typealias Path<Value> = any WritableKeyPath<AppOptions, Value> & Sendable

    case text(Path<String>)
    case optionalText(Path<String?>)
    case integer(Path<Int>)
    case optionalInteger(Path<Int?>)
    case number(Path<Double>)
    case flag(Path<Bool>)
    case list(Path<[String]>)
    case map(Path<[String: String]>)

    /// Sets the field.
    ///
    /// - Returns: False when the value has another type.
    func set(_ value: OptionValue, in options: inout AppOptions) -> Bool {
        switch (self, value) {
        case (.text(let path), .string(let text)): options[keyPath: path] = text
        case (.optionalText(let path), .string(let text)): options[keyPath: path] = text
        case (.integer(let path), .integer(let number)): options[keyPath: path] = Int(number)
        case (.optionalInteger(let path), .integer(let number)): options[keyPath: path] = Int(number)
        case (.number(let path), .number(let number)): options[keyPath: path] = number
        case (.flag(let path), .boolean(let flag)): options[keyPath: path] = flag
        case (.list(let path), .list(let texts)): options[keyPath: path] = texts
        case (.map(let path), .map(let texts)): options[keyPath: path] = texts
        case (.text, _), (.optionalText, _), (.integer, _), (.optionalInteger, _), (.number, _), (.flag, _), (.list, _),
            (.map, _):
            return false
        }
        return true
    }

    /// What the field has; nil for nothing.
    func value(in options: AppOptions) -> OptionValue? {
        switch self {
        case .text(let path): .string(options[keyPath: path])
        case .optionalText(let path): options[keyPath: path].map { .string($0) }
        case .integer(let path): .integer(Int64(options[keyPath: path]))
        case .optionalInteger(let path): options[keyPath: path].map { .integer(Int64($0)) }
        case .number(let path): .number(options[keyPath: path])
        case .flag(let path): .boolean(options[keyPath: path])
        case .list(let path): .list(options[keyPath: path])
        case .map(let path): .map(options[keyPath: path])
        }
    }
}
