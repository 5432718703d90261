// Owns: a host's configuration from swift-configuration: which keys there are, and what is wrong with their values. Any
// thread; a product of its own, so that programs without it do not have its dependencies.

public import Configuration
public import Panini

extension PaniniHostConfiguration {
    /// Reads a configuration: the settings of the host, and the options of `panini.app{...}`, which win over the scripts'
    /// own.
    ///
    /// The keys are the options' names, in lower case with `_`; nested ones have a dot. Below `panini` the environment has
    /// the names that the command line program reads, such as `PANINI_WEB_PORT`:
    ///
    /// ```swift
    /// let reader = ConfigReader(provider: EnvironmentVariablesProvider())
    /// let configuration = try PaniniHostConfiguration(reader.scoped(to: "panini"))
    /// ```
    ///
    /// Credentials, and addresses, which may carry some, are read as secrets.
    ///
    /// - Parameter reader: Where to read. Keys that are not there change nothing.
    /// - Throws: ``PaniniError`` with the code `invalid_option`: one line for each wrong value, with its key.
    public init(_ reader: ConfigReader) throws(PaniniError) {
        self.init(scripts: [])
        var reading = ConfigReading(reader)
        scripts = reading.texts("scripts") ?? []
        if let count = reading.workers("workers") { workers = count }
        if let flag = reading.flag("watch") { watchesFiles = flag }
        if let flag = reading.flag("strict") { isStrict = flag }
        if let flag = reading.flag("open_web_ports") { opensWebPorts = flag }
        controlDirectory = reading.text("control_dir")
        overrides.permissions = reading.permissions()
        for definition in OptionDefinition.all { reading.add(definition, to: &overrides) }
        guard reading.problems.isEmpty else {
            throw PaniniError(code: .invalidOption, message: reading.problems.joined(separator: "\n"))
        }
    }
}
