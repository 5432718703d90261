// What must hold for any bytes that are read as a form: parts lie in the body, one behind another, between boundaries, and
// reading asks no more often than it may whether it shall go on. Pure, any thread.

package import NATSFuzzSupport
import PaniniHTTP

/// Checks of the reader of forms.
package enum MultipartCheck {
    package static func check(_ bytes: [UInt8]) throws(FuzzFailure) {
        // The type is hostile, too: what stands before the first line feed.
        let first = bytes.firstIndex(of: UInt8(ascii: "\n")) ?? 0
        let type = "multipart/form-data;" + String(decoding: bytes[..<first], as: UTF8.self)
        if let boundary = HTTPMultipart.boundary(type) {
            try require((1...70).contains(boundary.utf8.count), "a boundary of \(boundary.utf8.count) bytes")
            try check(bytes, boundary)
        }
        try check(bytes, "b")
    }

    private static func check(_ bytes: [UInt8], _ boundary: String) throws(FuzzFailure) {
        let delimiter = Array("\r\n--\(boundary)".utf8)
        try bytes.withExactBytes { body throws(FuzzFailure) in
            var looks = 0
            let parts: [HTTPMultipartPart]
            do throws(HTTPMultipartError) {
                parts = try HTTPMultipart.parts(of: body, boundary: boundary) {
                    looks += 1
                    return false
                }
            } catch {
                return try require(!error.message.isEmpty, "a problem without a text")
            }
            try require(parts.count <= HTTPMultipart.maximumParts, "\(parts.count) parts")
            try require(looks <= parts.count + 2 + body.count >> 20, "\(looks) looks for \(parts.count) parts")
            var last = 0
            for part in parts {
                let range = part.range
                try require(range.lowerBound >= last, "a part begins inside the one before it")
                try require(range.upperBound <= body.count, "a part ends outside of the body")
                // A part without bytes may share the line end of its headers with the boundary.
                let end = range.isEmpty ? range.upperBound - 2 : range.upperBound
                let isBounded = [end, range.upperBound].contains { end in
                    end >= 0 && end + delimiter.count <= body.count
                        && body[end..<(end + delimiter.count)].elementsEqual(delimiter)
                }
                try require(isBounded, "a part ends where no boundary is")
                last = range.upperBound
            }
            // Who wants no more gets nothing.
            let isEnded: Bool
            do throws(HTTPMultipartError) {
                isEnded = try HTTPMultipart.parts(of: body, boundary: boundary) { true }.isEmpty
            } catch {
                isEnded = true
            }
            try require(isEnded, "parts were read for nobody")
        }
    }
}
