// Owns: reading multipart/form-data (RFC 7578) of a body that is complete. Pure, linear in the body's size; any thread.

import Glibc

/// Why a form cannot be read.
package struct HTTPMultipartProblem: Error, Equatable {
    /// One sentence for people.
    package let message: String
}

/// One part of a form.
package struct HTTPMultipartPart {
    package let name: String
    /// For uploads; empty when a browser sends a field for a file that was not chosen.
    package let fileName: String?
    package let contentType: String?
    /// Where the part's bytes lie in the body.
    package let range: Range<Int>
}

package enum HTTPMultipart {
    /// The most parts of a form.
    package static let maximumParts = 1000
    /// The most bytes of a part's own headers.
    package static let maximumHeaderBytes = 8192

    /// The boundary that a content-type names; nil for other types, and for a boundary that is none (RFC 2046, section 5.1.1).
    package static func boundary(_ contentType: String) -> String? {
        guard contentType.lowercased().hasPrefix("multipart/form-data") else { return nil }
        guard let value = parameter("boundary", of: contentType), (1...70).contains(value.utf8.count) else {
            return nil
        }
        return value.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F || $0 == 0x20 } ? value : nil
    }

    /// Reads the parts of a body.
    ///
    /// - Parameters:
    ///   - body: The whole of it.
    ///   - boundary: From ``boundary(_:)``.
    /// - Throws: What is wrong with it.
    package static func parts(
        of body: UnsafeRawBufferPointer,
        boundary: String
    ) throws(HTTPMultipartProblem) -> [HTTPMultipartPart] {
        let delimiter = Array("\r\n--\(boundary)".utf8)
        var parts: [HTTPMultipartPart] = []
        // The first delimiter may stand at the very beginning, without a line end before it.
        guard var at = startOfFirst(delimiter, in: body) else {
            throw HTTPMultipartProblem(message: "the form's boundary is not in its body")
        }
        while true {
            if body.has("--", at: at) { return parts }
            while at < body.count, body[at] == 0x20 || body[at] == 0x09 { at += 1 }
            guard body.has("\r\n", at: at) else {
                throw HTTPMultipartProblem(message: "a boundary of the form does not end its line")
            }
            guard parts.count < maximumParts else {
                throw HTTPMultipartProblem(message: "the form has more than \(maximumParts) parts")
            }
            let (headers, start) = try headers(of: body, from: at + 2)
            guard let end = find(delimiter, in: body, from: start - 2) else {
                throw HTTPMultipartProblem(message: "the form ends in the middle of a part")
            }
            parts.append(try part(headers, start..<max(start, end)))
            at = end + delimiter.count
        }
    }

    private static func startOfFirst(_ delimiter: [UInt8], in body: UnsafeRawBufferPointer) -> Int? {
        let first = delimiter.dropFirst(2)
        if body.count >= first.count, body.prefix(first.count).elementsEqual(first) { return first.count }
        return find(delimiter, in: body, from: 0).map { $0 + delimiter.count }
    }

    private static func find(_ wanted: [UInt8], in body: UnsafeRawBufferPointer, from: Int) -> Int? {
        guard let base = body.baseAddress else { return nil }
        var at = max(0, from)
        while at + wanted.count <= body.count {
            guard let found = memchr(base + at, CInt(wanted[0]), body.count - wanted.count - at + 1) else { return nil }
            at = UnsafeRawPointer(found) - base
            if memcmp(base + at, wanted, wanted.count) == 0 { return at }
            at += 1
        }
        return nil
    }

    /// The headers of a part, and where its bytes begin. A part without headers has the empty line at once.
    private static func headers(
        of body: UnsafeRawBufferPointer,
        from: Int
    ) throws(HTTPMultipartProblem) -> (lines: [Substring], start: Int) {
        let limit = min(body.count, from + maximumHeaderBytes)
        if body.has("\r\n", at: from) { return ([], from + 2) }
        let window = UnsafeRawBufferPointer(rebasing: body[min(from, limit)..<limit])
        guard let end = find(Array("\r\n\r\n".utf8), in: window, from: 0) else {
            throw HTTPMultipartProblem(message: "the headers of a part are too long, or do not end")
        }
        let text = String(decoding: window[..<end], as: UTF8.self)
        return (text.split(separator: "\r\n"), from + end + 4)
    }

    private static func part(
        _ lines: [Substring],
        _ range: Range<Int>
    ) throws(HTTPMultipartProblem) -> HTTPMultipartPart {
        var name: String?
        var fileName: String?
        var contentType: String?
        for line in lines {
            guard let colon = line.firstIndex(of: ":") else { continue }
            let value = String(line[line.index(after: colon)...].drop { $0 == " " || $0 == "\t" })
            switch line[..<colon].lowercased() {
            case "content-disposition":
                name = parameter("name", of: value)
                fileName = parameter("filename", of: value)
            case "content-type": contentType = value
            default: break
            }
        }
        guard let name else { throw HTTPMultipartProblem(message: "a part of the form has no name") }
        return HTTPMultipartPart(name: name, fileName: fileName, contentType: contentType, range: range)
    }

    /// A parameter of a header's value: `a; name=x` or `a; name="x y"`. What stands in quotes is no end.
    private static func parameter(_ wanted: String, of text: String) -> String? {
        var rest = text[...].drop { $0 != ";" }
        while rest.first == ";" {
            rest = rest.dropFirst().drop { $0 == " " || $0 == "\t" }
            let name = rest.prefix { $0 != "=" && $0 != ";" }
            rest = rest.dropFirst(name.count)
            var value = ""
            if rest.first == "=" {
                rest = rest.dropFirst()
                if rest.first == "\"" {
                    rest = rest.dropFirst()
                    while let character = rest.first, character != "\"" {
                        rest = rest.dropFirst()
                        // Only a quote is escaped by all senders: a backslash alone is part of Windows' paths.
                        if character == "\\", rest.first == "\"" {
                            value.append("\"")
                            rest = rest.dropFirst()
                        } else {
                            value.append(character)
                        }
                    }
                    rest = rest.drop { $0 != ";" }
                } else {
                    value = String(rest.prefix { $0 != ";" && $0 != " " && $0 != "\t" })
                    rest = rest.drop { $0 != ";" }
                }
            }
            if name.lowercased() == wanted { return value }
        }
        return nil
    }
}

extension UnsafeRawBufferPointer {
    fileprivate func has(_ text: StaticString, at index: Int) -> Bool {
        guard index >= 0, index + text.utf8CodeUnitCount <= count else { return false }
        return text.withUTF8Buffer { text in self[index..<(index + text.count)].elementsEqual(text) }
    }
}
