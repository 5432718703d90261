// The one place that bootstraps logging: libraries and embedders never do.

import Logging
import PaniniObservability

extension ConsoleLog {
    /// Makes every logger of the process write here. To be called once.
    func bootstrap() {
        let log = self
        LoggingSystem.bootstrap { label in log.makeHandler(label: label) }
    }
}
