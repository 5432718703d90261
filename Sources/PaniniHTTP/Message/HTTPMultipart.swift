// Owns: reading multipart/form-data (RFC 7578) of a body that is complete. Pure, linear in the body's size; any thread.

import Bytes
import Glibc

/// Why a form cannot be read.
package struct HTTPMultipartError: Error, Equatable {
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
    /// The most header fields of a part; browsers send two or three.
    package static let maximumHeaderFields = 16
    /// The most bytes of the headers of all parts together.
    package static let maximumHeaderSum = 256 << 10

    /// How much is searched for the next boundary before the caller is asked whether it still wants the parts.
    private static let stretch = 1 << 20

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
    ///   - isOver: Asked at each part and at least once for each megabyte; true: nobody wants the parts any more.
    /// - Throws: What is wrong with it.
    package static func parts(
        of body: UnsafeRawBufferPointer,
        boundary: String,
        isOver: () -> Bool = { false }
    ) throws(HTTPMultipartError) -> [HTTPMultipartPart] {
        let delimiter = Array("\r\n--\(boundary)".utf8)
        var parts: [HTTPMultipartPart] = []
        var headerBytes = 0
        // The first delimiter may stand at the very beginning, without a line end before it.
        guard var at = try startOfFirst(delimiter, in: body, isOver) else {
            throw HTTPMultipartError(message: "the form's boundary is not in its body")
        }
        while true {
            if body.has("--", at: at) { return parts }
            while at < body.count, body[at] == 0x20 || body[at] == 0x09 { at += 1 }
            guard body.has("\r\n", at: at) else {
                throw HTTPMultipartError(message: "a boundary of the form does not end its line")
            }
            guard parts.count < maximumParts else {
                throw HTTPMultipartError(message: "the form has more than \(maximumParts) parts")
            }
            let headers = try headers(of: body, from: at + 2)
            headerBytes += headers.count
            guard headerBytes <= maximumHeaderSum else {
                throw HTTPMultipartError(message: "the headers of the form's parts are too long")
            }
            let start = headers.isEmpty ? headers.upperBound + 2 : headers.upperBound + 4
            guard let end = try find(delimiter, in: body, from: start - 2, isOver) else {
                throw HTTPMultipartError(message: "the form ends in the middle of a part")
            }
            let lines = UnsafeRawBufferPointer(rebasing: body[headers])
            parts.append(try part(lines, start..<max(start, end)))
            at = end + delimiter.count
        }
    }

    private static func startOfFirst(
        _ delimiter: [UInt8],
        in body: UnsafeRawBufferPointer,
        _ isOver: () -> Bool
    ) throws(HTTPMultipartError) -> Int? {
        let first = delimiter.dropFirst(2)
        if body.count >= first.count, body.prefix(first.count).elementsEqual(first) { return first.count }
        return try find(delimiter, in: body, from: 0, isOver).map { $0 + delimiter.count }
    }

    private static func find(
        _ wanted: [UInt8],
        in body: UnsafeRawBufferPointer,
        from: Int,
        _ isOver: () -> Bool
    ) throws(HTTPMultipartError) -> Int? {
        var at = max(0, from)
        while at + wanted.count <= body.count {
            if isOver() { throw HTTPMultipartError(message: "the run is over") }
            let end = min(body.count, at + stretch + wanted.count - 1)
            if let found = find(wanted, in: body, at..<end) { return found }
            at = end - wanted.count + 1
        }
        return nil
    }

    /// Linear, whatever the bytes are: what is wanted begins with a carriage return, and hardly any other follows in it.
    private static func find(_ wanted: [UInt8], in body: UnsafeRawBufferPointer, _ range: Range<Int>) -> Int? {
        guard let base = body.baseAddress else { return nil }
        var at = range.lowerBound
        while at + wanted.count <= range.upperBound {
            let room = range.upperBound - wanted.count - at + 1
            guard let found = memchr(base + at, CInt(wanted[0]), room) else { return nil }
            at = UnsafeRawPointer(found) - base
            if memcmp(base + at, wanted, wanted.count) == 0 { return at }
            at += 1
        }
        return nil
    }

    private static let emptyLine = Array("\r\n\r\n".utf8)

    /// Where the headers of a part lie, without the empty line that ends them. A part without headers has that at once.
    private static func headers(
        of body: UnsafeRawBufferPointer,
        from: Int
    ) throws(HTTPMultipartError) -> Range<Int> {
        if body.has("\r\n", at: from) { return from..<from }
        let limit = min(body.count, from + maximumHeaderBytes)
        guard from < limit, let end = find(emptyLine, in: body, from..<limit) else {
            throw HTTPMultipartError(message: "the headers of a part are too long, or do not end")
        }
        guard UTF8Text.isValid(UnsafeRawBufferPointer(rebasing: body[from..<end])) else {
            throw HTTPMultipartError(message: "the name of a part, or of its file, is no UTF-8")
        }
        return from..<end
    }

    private static func part(
        _ lines: UnsafeRawBufferPointer,
        _ range: Range<Int>
    ) throws(HTTPMultipartError) -> HTTPMultipartPart {
        var name: String?
        var fileName: String?
        var contentType: String?
        var fields = 0
        var start = 0
        while start < lines.count {
            let end = find(lineEnd, in: lines, start..<lines.count) ?? lines.count
            let line = UnsafeRawBufferPointer(rebasing: lines[start..<end])
            start = end + 2
            fields += 1
            guard fields <= maximumHeaderFields else {
                throw HTTPMultipartError(message: "a part has more than \(maximumHeaderFields) header fields")
            }
            guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { continue }
            let value = line[(colon + 1)...].drop { $0 == 0x20 || $0 == 0x09 }
            if HTTPParameters.isName(line[..<colon], "content-disposition") {
                let value = Array(value)
                name = HTTPParameters.value(of: "name", in: value)
                fileName = HTTPParameters.value(of: "filename", in: value)
            } else if HTTPParameters.isName(line[..<colon], "content-type") {
                contentType = String(decoding: value, as: UTF8.self)
            }
        }
        guard let name else { throw HTTPMultipartError(message: "a part of the form has no name") }
        return HTTPMultipartPart(name: name, fileName: fileName, contentType: contentType, range: range)
    }

    private static let lineEnd = Array("\r\n".utf8)
}

extension UnsafeRawBufferPointer {
    fileprivate func has(_ text: StaticString, at index: Int) -> Bool {
        guard index >= 0, index + text.utf8CodeUnitCount <= count else { return false }
        return text.withUTF8Buffer { text in self[index..<(index + text.count)].elementsEqual(text) }
    }
}
