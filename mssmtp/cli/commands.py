"""Every command under its name."""

from __future__ import annotations

import typer

from mssmtp.cli import (
    admin,
    bal,
    check_config,
    config_example,
    demo,
    doctor,
    domain,
    explain,
    gateway,
    init,
    machine,
    person,
    person_devices,
    policy,
    queue,
    register,
    serve,
    store,
    structure,
    suspend,
    trust,
)

person.app.add_typer(person_devices.app, name="app-password")
structure.app.command("app-passwords")(person_devices.allow)


def offer(app: typer.Typer) -> None:
    """Have `app` know all of them."""
    app.command("init")(init.init)
    app.command("serve")(serve.serve)
    app.command("demo")(demo.demo)
    app.command("check-config")(check_config.check_config)
    app.command("config-example")(config_example.config_example)
    app.command("explain")(explain.explain)
    app.command("doctor")(doctor.doctor)
    app.add_typer(admin.app, name="admin")
    app.add_typer(bal.app, name="bal")
    app.add_typer(domain.app, name="domain")
    app.add_typer(gateway.app, name="gateway")
    app.add_typer(machine.app, name="machine")
    app.add_typer(policy.app, name="policy")
    app.add_typer(person.app, name="person")
    app.add_typer(queue.app, name="queue")
    app.add_typer(register.app, name="register")
    app.add_typer(store.app, name="store")
    app.add_typer(structure.app, name="structure")
    app.add_typer(suspend.app, name="suspend")
    app.add_typer(trust.app, name="trust")
