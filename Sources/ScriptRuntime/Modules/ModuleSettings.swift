// Owns: what whoever loads a script decides about its modules. A value; any thread.

/// Where the modules of a script come from.
package struct ModuleSettings: Sendable {
    package var files: any ModuleFiles
    /// Whether it may load what it likes, modules in C among it.
    package var isTrusted = false
    /// What an untrusted script may read, by its path; nil for all others.
    package var mayRead: (@Sendable (String) -> Bool)?
    /// Folders, or templates with a `?`, that were given outside the script.
    package var folders: [String] = []

    package init(
        files: any ModuleFiles,
        isTrusted: Bool = false,
        mayRead: (@Sendable (String) -> Bool)? = nil,
        folders: [String] = []
    ) {
        self.files = files
        self.isTrusted = isTrusted
        self.mayRead = mayRead
        self.folders = folders
    }
}
