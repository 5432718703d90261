// libFuzzer's entry for what a client sends over HTTP/1. The invariants stand in HTTPFuzzSupport.
// Built by scripts/fuzz only.

import FuzzerDriver
import HTTPFuzzSupport
import NATSFuzzSupport

@main
enum HTTPParserFuzzer {
    static func main() {
        runFuzzer { data, size in
            let input = Array(UnsafeBufferPointer(start: data, count: size))
            do throws(FuzzFailure) {
                try HTTPParserCheck.check(input)
            } catch {
                fatalError("\(error)")
            }
            return 0
        }
    }
}
