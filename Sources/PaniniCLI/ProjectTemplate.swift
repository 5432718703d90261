// The files of a new project. Pure functions: a name in, texts out.

import Panini

enum ProjectTemplate {
    struct File {
        let path: String
        let text: String
    }

    static func files(name: String) -> [File] {
        [
            File(path: "main.lua", text: script(name)),
            File(path: "main_test.lua", text: test(name)),
            File(path: ".luarc.json", text: editor),
            File(path: "panini.d.lua", text: PaniniTypes.definitions),
            File(path: "Dockerfile", text: image),
            File(path: ".dockerignore", text: ignored),
            File(path: "docker-compose.yml", text: compose),
            File(path: ".gitignore", text: "logs/\n"),
            File(path: "README.md", text: readme(name)),
        ]
    }

    private static func script(_ name: String) -> String {
        """
        -- main.lua: the service \(name). Save it, and the running service takes the new version.
        local app = panini.app{
            service_name = "\(name)",
            version = "0.1.0",
            -- Several processes share the messages.
            allocation_queue_group = "\(name)",
        }

        app.listen("\(name).hello", function(msg)
            local name = msg.data and msg.data.name
            if type(name) ~= "string" then
                return nil, { code = 400, message = "name is missing" }
            end
            return { message = "Hello, " .. name .. "!" }
        end)

        """
    }

    private static func test(_ name: String) -> String {
        """
        -- main_test.lua: what main.lua has to do. `panini test` runs it, with a broker of its own.
        test("greets by name", function(t)
            local reply = assert(t.request("\(name).hello", { name = "Ada" }))
            t.equal(reply, { message = "Hello, Ada!" })
        end)

        test("says what is missing", function(t)
            local reply, err = t.request("\(name).hello", {})
            t.equal(reply, nil)
            t.equal(err.code, 400)
            t.equal(err.message, "name is missing")
        end)

        """
    }

    private static let editor = """
        {
            "runtime.version": "Lua 5.4",
            "workspace.library": ["panini.d.lua"],
            "diagnostics.globals": ["panini", "test"]
        }

        """

    private static let image = """
        # The image of the service: the program's own and the scripts. In a clone of the program's repository,
        # `docker build -t panini:\(PaniniVersion.current) .` makes the former.
        FROM panini:\(PaniniVersion.current)
        # Everything that .dockerignore does not name: modules in folders, lua_modules, static files, config.
        COPY . /srv/

        """

    /// What the image does not need: the rest of the folder is the service.
    private static let ignored = """
        # What the service does not need to run. Secrets belong into the environment, and not into an image.
        .git
        .gitignore
        .dockerignore
        .env
        .env.*
        .luarc.json
        **/*_test.lua
        **/*.creds
        **/*.nk
        Dockerfile
        README.md
        docker-compose*.yml
        logs
        panini.d.lua
        tests

        """

    private static let compose = """
        # The service twice, in one queue group, and its broker: docker compose up --build
        services:
          nats:
            image: nats:2
            command: ["--jetstream", "--store_dir", "/data"]
            volumes:
              - nats:/data
            ports:
              - "127.0.0.1:4222:4222"
            restart: unless-stopped

          service:
            build: .
            environment:
              NATS_URL: nats://nats:4222
              # Where a web server listens, if the service has one (web_server = true). A container's 127.0.0.1 is its own:
              # no published port leads there.
              PANINI_WEB_HOST: 0.0.0.0
            # A web server is published so. One port of the machine is for one replica: a range is for as many.
            # ports:
            #   - "127.0.0.1:8080-8081:8080"
            depends_on:
              - nats
            deploy:
              replicas: 2
            # Longer than shutdown_timeout (30 s): a stop lets running handlers finish.
            stop_grace_period: 45s
            restart: unless-stopped

        volumes:
          nats:

        """

    private static func readme(_ name: String) -> String {
        """
        # \(name)

        A service on NATS, in Lua. `panini --help` says what the program can do.

        ```sh
        panini dev                                     # runs main.lua with a broker of its own, again at each save
        panini request \(name).hello '{"name": "Ada"}'
        panini test                                    # runs main_test.lua
        panini run main.lua --server nats://broker:4222
        ```

        `docker compose up --build` starts it twice beside a nats-server. Its image begins with panini:\(PaniniVersion.current), which
        `docker build -t panini:\(PaniniVersion.current) .` makes in a clone of panini's repository. `panini types --output panini.d.lua` renews what the
        editor knows of the API when the program is newer.

        """
    }
}
