// libFuzzer's entry for the frames of a WebSocket's client. The invariants stand in HTTPFuzzSupport.
// Built by scripts/fuzz only.

import FuzzerDriver
import HTTPFuzzSupport
import NATSFuzzSupport

@main
enum WebSocketReaderFuzzer {
    static func main() {
        runFuzzer { data, size in
            let input = Array(UnsafeBufferPointer(start: data, count: size))
            do throws(FuzzFailure) {
                try WebSocketCheck.check(input)
            } catch {
                fatalError("\(error)")
            }
            return 0
        }
    }
}
