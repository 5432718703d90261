// What ends behind the versions of a service: connections that a client still holds, and what they say of themselves.

import ScriptRuntime
import Synchronization
import Testing

@testable import Panini

@Suite("The end of a service")
struct ServiceEndTests {
    /// Does at the very end, when the versions are closed, what a connection of the web server does that goes after them.
    private final class Straggler: ServiceFeature {
        static let ends = Mutex(0)

        override func close() {
            guard service.script.phase == .closed else { return }
            service.webMemoryCalmedDown()
            service.workWasDone()
            Self.ends.withLock { $0 += 1 }
        }
    }

    @Test("what goes after the script asks nothing of its closed Lua state")
    func straggler() async throws {
        let script = "local app = panini.app{ service_name = \"late\" } app.listen(\"a\", function() return 1 end)"
        let configure: (inout PaniniHostConfiguration) -> Void = { configuration in
            configuration.features = FeatureList.all + [Feature(nil, Straggler.self)]
        }
        try await Running.with(script, configure: configure) { running in
            try await running.expect("a", "", gives: "1")
        }
        #expect(Straggler.ends.withLock { $0 } == 1)
    }
}
