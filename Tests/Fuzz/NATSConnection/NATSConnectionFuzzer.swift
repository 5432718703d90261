// libFuzzer's entry for the connection machine: the input is a script. The invariants stand in NATSFuzzSupport.
// Built by scripts/fuzz only.

import FuzzerDriver
import NATSFuzzSupport

@main
enum NATSConnectionFuzzer {
    static func main() {
        runFuzzer { data, size in
            let input = Array(UnsafeBufferPointer(start: data, count: size))
            do throws(FuzzFailure) {
                try ConnectionScript.check(input)
            } catch {
                fatalError("\(error)")
            }
            return 0
        }
    }
}
