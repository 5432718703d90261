// What must hold for any bytes that are read as requests of HTTP/1: the same whole and in pieces, within the limits, and no
// piece of a body outside of what was given. Pure, any thread.

package import NATSFuzzSupport
import NIOHTTP1
import PaniniHTTP

/// Checks of the parser of requests.
package enum HTTPParserCheck {
    private static let maximumBytes = 512
    private static let maximumFields = 12

    private enum Met: Equatable {
        case head(method: String, bytes: [UInt8], HTTPRequestParser.Facts)
        case body([UInt8])
        case end
        /// Refused, for one reason or another: which of two faults is met first may depend on the pieces.
        case refused
        /// What follows may be in another protocol.
        case left
    }

    package static func check(_ bytes: [UInt8]) throws(FuzzFailure) {
        let whole = try read(bytes, ends: [bytes.count])
        for longest in [1, 7, 60] {
            let ends = Cuts.make(bytes.count, longest: longest, seed: bytes.seed)
            let split = try read(bytes, ends: ends)
            try require(whole == split, "cut at \(ends) it means \(split), in one piece \(whole)")
        }
    }

    private static func read(_ bytes: [UInt8], ends: [Int]) throws(FuzzFailure) -> [Met] {
        let parser = HTTPRequestParser(maximumBytes: maximumBytes, maximumFields: maximumFields)
        var met: [Met] = []
        var body: [UInt8] = []
        var isInMessage = false
        var at = 0
        for end in ends {
            // A message goes on with what follows, even if that is nothing yet.
            var isStuck = false
            while !isStuck, at < end || isInMessage {
                let piece = Array(bytes[at..<end])
                let (event, count) = try piece.withExactBytes { bytes throws(FuzzFailure) in
                    let result = parser.read(bytes)
                    for part in parser.pieces {
                        try require(
                            part.lowerBound >= 0 && part.upperBound <= bytes.count,
                            "a piece of the body lies at \(part) of \(bytes.count) bytes"
                        )
                        body += bytes[part]
                    }
                    return result
                }
                try require((0...piece.count).contains(count), "\(count) of \(piece.count) bytes were used")
                at += count
                switch event {
                case .needsMore:
                    try require(at == end, "more is wanted with \(end - at) bytes left")
                    isStuck = true
                case .head:
                    isInMessage = true
                    let facts = parser.facts
                    let head = parser.takeHead()
                    try require(head.bytes.count <= maximumBytes, "a head of \(head.bytes.count) bytes")
                    let fields = head.bytes[head.targetLength...].count { $0 == UInt8(ascii: "\n") }
                    try require(fields <= maximumFields, "a head of \(fields) fields")
                    met.append(.head(method: head.method.rawValue, bytes: head.bytes, facts))
                    if facts.offersUpgrade || head.method == .CONNECT { return met + [.left] }
                case .end:
                    isInMessage = false
                    if !body.isEmpty { met.append(.body(body)) }
                    body = []
                    met.append(.end)
                case .malformed, .overflow:
                    // What had come of the body was handed on before.
                    return met + [.refused]
                }
            }
        }
        return met + (body.isEmpty ? [] : [.body(body)])
    }
}
