// The root of the command line: what `panini` alone and `panini --help` say.

import ArgumentParser
import Panini

struct PaniniCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "panini",
        abstract: "Lua services on NATS.",
        discussion: """
            A service is one Lua file:

              local app = panini.app{ service_name = "greeter" }
              app.listen("greet", function(msg)
                return { text = "Hello " .. msg.data.name }
              end)

            Try it without anything else installed, and ask it something from a second terminal:

              panini dev greeter.lua
              panini request greet '{"name": "Ada"}'

            panini new makes a project, with a test that panini test runs; panini completions makes your shell complete \
            commands and options.

            panini help COMMAND explains a command. Exit codes: 0 done, 1 failed, 2 wrong usage; run and dev end with \
            128 + n when a second signal n cuts their stop short.
            """,
        version: "panini \(PaniniVersion.current)",
        subcommands: [
            RunCommand.self, DevCommand.self, CheckCommand.self, ReloadCommand.self, PsCommand.self, BrokerCommand.self,
            PublishCommand.self, RequestCommand.self, SubscribeCommand.self, TestCommand.self, NewCommand.self,
            TypesCommand.self, CompletionsCommand.self, VersionCommand.self,
        ]
    )
}
