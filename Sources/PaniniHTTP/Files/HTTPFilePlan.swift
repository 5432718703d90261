// Owns: what is sent of a file: all, a part, or only that it has not changed (RFC 9110, sections 13 and 14). Pure; any
// thread.

/// What goes out for a file.
package struct HTTPFilePlan: Equatable {
    package let status: Int
    /// The part of the file; empty for 304, 412 and 416.
    package let range: Range<Int>
    /// `content-range` for 206 and 416.
    package let contentRange: String?

    /// Decides about a request for a file.
    ///
    /// Conditions are those of GET and HEAD: to what another method has done before its response was made they are too late. Parts
    /// are sent for GET only (RFC 9110, section 14.2).
    ///
    /// - Parameters:
    ///   - method: Of the request.
    ///   - status: What the response would be without conditions. Neither conditions nor parts are of something else than 200;
    ///     but for its status, the file is what it is.
    ///   - size: The file's bytes.
    ///   - validators: Of the file.
    ///   - header: The value of a request's header; several of one name joined with commas.
    package init(
        method: String = "GET",
        status: Int = 200,
        size: Int,
        validators: HTTPValidators,
        header: @escaping (String) -> String?
    ) {
        let isConditional = status == 200 && (method == "GET" || method == "HEAD")
        let conditions = HTTPPreconditions(validators, header: header)
        switch isConditional ? conditions.outcome : .goOn {
        case .unchanged: self.init(304, 0..<0, nil)
        case .failed: self.init(412, 0..<0, nil)
        case .goOn:
            let part = status == 200 && method == "GET" && conditions.permitsRange
            switch part ? header("range").map({ Self.range($0, size: size) }) ?? .all : .all {
            case .all: self.init(status, 0..<size, nil)
            case .part(let range): self.init(206, range, "bytes \(range.lowerBound)-\(range.upperBound - 1)/\(size)")
            case .unsatisfiable: self.init(416, 0..<0, "bytes */\(size)")
            }
        }
    }

    private init(_ status: Int, _ range: Range<Int>, _ contentRange: String?) {
        self.status = status
        self.range = range
        self.contentRange = contentRange
    }

    private enum Part {
        case all
        case part(Range<Int>)
        case unsatisfiable
    }

    /// One range of bytes; several, another unit, and what cannot be read mean the whole.
    private static func range(_ text: String, size: Int) -> Part {
        // The unit's name has no case (RFC 9110, section 14.1).
        guard text.prefix(6).lowercased() == "bytes=", !text.contains(",") else { return .all }
        let spec = text.dropFirst(6)
        guard let dash = spec.firstIndex(of: "-") else { return .all }
        let first = spec[..<dash].trimmedBlanks
        let last = spec[spec.index(after: dash)...].trimmedBlanks
        guard first.allSatisfy(\.isASCIIDigit), last.allSatisfy(\.isASCIIDigit) else { return .all }
        if first.isEmpty {
            guard let count = Int(last) else { return last.isEmpty ? .all : .part(0..<size) }
            return count == 0 || size == 0 ? .unsatisfiable : .part(max(0, size - count)..<size)
        }
        guard let from = Int(first), from < size else { return .unsatisfiable }
        guard !last.isEmpty else { return .part(from..<size) }
        // A number beyond all files means their end.
        let to = Int(last) ?? size
        return to < from ? .all : .part(from..<min(size, to == .max ? size : to + 1))
    }
}

extension Character {
    fileprivate var isASCIIDigit: Bool { ("0"..."9").contains(self) }
}
