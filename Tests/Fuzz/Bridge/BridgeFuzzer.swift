// libFuzzer's entry for what browsers send to a bridge, and what it hands on to them. The invariants stand in BridgeFuzzSupport.
// Built by scripts/fuzz only.

import BridgeFuzzSupport
import FuzzerDriver
import NATSFuzzSupport

@main
enum BridgeFuzzer {
    static func main() {
        runFuzzer { data, size in
            let input = Array(UnsafeBufferPointer(start: data, count: size))
            do throws(FuzzFailure) {
                try BridgeCheck.check(input)
            } catch {
                fatalError("\(error)")
            }
            return 0
        }
    }
}
