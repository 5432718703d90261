// Owns: `panini.app{...}`: from a script's table to its options and its app. Worker's thread, while the file runs.

import CLuaVM
import Logging
import LuaVM
import ScriptRuntime

extension Script {
    /// `panini.app{...}`.
    func makeApp(_ call: HostCall) throws(UsageError) -> CInt {
        guard options == nil else {
            throw UsageError("panini.app: this script has made its app already; one file is one service")
        }
        guard phase == .loading else { throw UsageError("panini.app: an app is made while the file runs, not later") }
        guard call.type(1) == LUA_TTABLE else {
            throw UsageError("panini.app: takes a table of options, as in panini.app{ service_name = \"orders\" }")
        }
        let members = try call.members(1)
        try requireAllowed(options: members)
        do throws(AppOptions.Failure) {
            options = try AppOptions(
                script: members,
                directory: directory,
                overrides: overrides,
                bounds: restrictions == nil ? nil : .untrusted,
                rows: place.options
            )
        } catch {
            switch error {
            case .script(let text): throw UsageError("panini.app: \(text)")
            case .outside(let text):
                version.outsideFailure = PaniniError(code: .invalidOption, message: text)
                throw UsageError(text)
            }
        }
        logger[metadataKey: "service"] = "\(options?.serviceName ?? "")"
        let L = call.L
        if let options {
            try settle(options)
            // Unless somebody has named them outside.
            if !overrides.contains("module_path") { addModulePath(options.modulePath, L) }
            for lowered in options.lowered {
                logger.warning("\(vm.position(L)): panini.app: \(lowered.text)")
            }
        }
        let api = place.api
        push(api.app, of: api, onto: L)
        keepApp(L)
        return 1
    }

    /// What follows from the options before anything else runs.
    private func settle(_ options: AppOptions) throws(UsageError) {
        vm.setLabel(options.serviceName)
        apply(options.limits)
        do throws(ScriptError) {
            for feature in features.all { try feature.appMade() }
        } catch {
            throw UsageError(error.message)
        }
    }
}
