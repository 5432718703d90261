// Owns: the type of validators in a script's state. Loop-bound.

import CScriptObjects
import LuaVM
import ScriptRuntime

/// Validators of one version of a script.
final class ScriptValidators: ScriptFeature {
    /// The registry reference of the metatable.
    let type: CInt

    required init(_ script: Script) {
        let vm = script.vm
        let L = vm.state
        panini_validator_push_metatable(L)
        vm.pushString(L, "json_schema" as StaticString)
        vm.pushHostFunction(
            {
                hostCall($0, $1, "validator:json_schema", takes: 1) { call throws(UsageError) in
                    try call.script.jsonSchema(call)
                }
            },
            context: Unmanaged.passUnretained(script).toOpaque(),
            onto: L
        )
        lua_rawset(L, -3)
        lua_settop(L, -2)
        type = vm.makeReference(L).index
        super.init(script)
    }
}

extension Script {
    var validators: ScriptValidators { features[ScriptValidators.self] }
}
