// The one place that bootstraps logging: libraries and embedders never do.

import Logging
import PaniniObservability

extension PaniniLogs {
    /// Makes every logger of the process write here. To be called once.
    func bootstrap() {
        let logs = self
        LoggingSystem.bootstrap { label in logs.makeHandler(label: label) }
    }
}
