// Owns: reading multipart/form-data (RFC 7578) of a body that is complete. Pure, linear in the body's size; any thread.

import Glibc

/// Why a form cannot be read.
package struct HTTPMultipartProblem: Error, Equatable {
    /// One sentence for people.
    package let message: String

    package init(message: String) { self.message = message }
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
        guard let value = HTTPParameters.value(of: "boundary", in: Array(contentType.utf8)),
            (1...70).contains(value.utf8.count)
        else { return nil }
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
    ) throws(HTTPMultipartProblem) -> (lines: [ArraySlice<UInt8>], start: Int) {
        let limit = min(body.count, from + maximumHeaderBytes)
        if body.has("\r\n", at: from) { return ([], from + 2) }
        let window = UnsafeRawBufferPointer(rebasing: body[min(from, limit)..<limit])
        guard let end = find(Array("\r\n\r\n".utf8), in: window, from: 0) else {
            throw HTTPMultipartProblem(message: "the headers of a part are too long, or do not end")
        }
        let text = Array(window[..<end])
        guard String(validating: text, as: UTF8.self) != nil else {
            throw HTTPMultipartProblem(message: "the name of a part, or of its file, is no UTF-8")
        }
        var lines: [ArraySlice<UInt8>] = []
        var start = text.startIndex
        for index in text.indices.dropLast() where text[index] == 0x0D && text[index + 1] == 0x0A {
            if index > start { lines.append(text[start..<index]) }
            start = index + 2
        }
        lines.append(text[start...])
        return (lines, from + end + 4)
    }

    private static func part(
        _ lines: [ArraySlice<UInt8>],
        _ range: Range<Int>
    ) throws(HTTPMultipartProblem) -> HTTPMultipartPart {
        var name: String?
        var fileName: String?
        var contentType: String?
        for line in lines {
            guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { continue }
            let value = Array(line[(colon + 1)...].drop { $0 == 0x20 || $0 == 0x09 })
            switch String(decoding: line[..<colon], as: UTF8.self).lowercased() {
            case "content-disposition":
                name = HTTPParameters.value(of: "name", in: value)
                fileName = HTTPParameters.value(of: "filename", in: value)
            case "content-type": contentType = String(decoding: value, as: UTF8.self)
            default: break
            }
        }
        guard let name else { throw HTTPMultipartProblem(message: "a part of the form has no name") }
        return HTTPMultipartPart(name: name, fileName: fileName, contentType: contentType, range: range)
    }
}

extension UnsafeRawBufferPointer {
    fileprivate func has(_ text: StaticString, at index: Int) -> Bool {
        guard index >= 0, index + text.utf8CodeUnitCount <= count else { return false }
        return text.withUTF8Buffer { text in self[index..<(index + text.count)].elementsEqual(text) }
    }
}
