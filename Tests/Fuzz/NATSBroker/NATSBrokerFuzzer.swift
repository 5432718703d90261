// libFuzzer's entry for what a client sends to the embedded broker. The invariants stand in NATSFuzzSupport.
// Built by scripts/fuzz only.

import FuzzerDriver
import NATSFuzzSupport

@main
enum NATSBrokerFuzzer {
    static func main() {
        runFuzzer { data, size in
            let input = Array(UnsafeBufferPointer(start: data, count: size))
            do throws(FuzzFailure) {
                try ClientStreamCheck.check(input)
            } catch {
                fatalError("\(error)")
            }
            return 0
        }
    }
}
