// Where the scripts of the shop are: resources of this package.

import Foundation

/// The scripts of the shop.
public enum OrderScripts {
    /// The folder that they lie in: inside of the bundle that is built beside the program.
    public static var folder: String { Bundle.module.bundleURL.appendingPathComponent("Scripts").path }
}
