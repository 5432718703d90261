// libFuzzer's entry for forms with uploads. The invariants stand in HTTPFuzzSupport.
// Built by scripts/fuzz only.

import FuzzerDriver
import HTTPFuzzSupport
import NATSFuzzSupport

@main
enum MultipartFuzzer {
    static func main() {
        runFuzzer { data, size in
            let input = Array(UnsafeBufferPointer(start: data, count: size))
            do throws(FuzzFailure) {
                try MultipartCheck.check(input)
            } catch {
                fatalError("\(error)")
            }
            return 0
        }
    }
}
