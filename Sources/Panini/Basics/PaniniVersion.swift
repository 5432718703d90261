// Owns: the version. Pure; any thread.

/// The version of Panini; the change log has one section for each.
package enum PaniniVersion {
    /// Such as `1.2.0`.
    package static let current = "0.1.0"
}
