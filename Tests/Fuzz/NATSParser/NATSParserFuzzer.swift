// libFuzzer's entry for what a server sends: the operation parser, and the documents inside. The invariants stand in NATSFuzzSupport.
// Built by scripts/fuzz only.

import FuzzerDriver
import NATSFuzzSupport

@main
enum NATSParserFuzzer {
    static func main() {
        runFuzzer { data, size in
            let input = Array(UnsafeBufferPointer(start: data, count: size))
            do throws(FuzzFailure) {
                try ServerStreamCheck.check(input)
                try DocumentCheck.check(input)
            } catch {
                fatalError("\(error)")
            }
            return 0
        }
    }
}
