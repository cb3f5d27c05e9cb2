"""The task wizard: templates, drafts that survive, every choice, and what becomes of bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.core import mail
from django.test import Client

from sessions_app.forms.tables import REQUIRED, STEPS
from sessions_app.forms.task import TaskForm
from sessions_app.forms.templates import BUILT_IN
from sessions_app.forms.values import form_of, task_values
from sessions_app.models import Invitation, NetworkPrice, Task, TaskDraft, TaskTemplate, User
from tests import factories
from training.specs import ALGORITHMS, DATASETS, MODELS, PARTITIONS, PRIVACY, SCORINGS, TaskConfig

pytestmark = pytest.mark.django_db

FLT = factories.FLT
FILLED = {"title": "Five sites", "participants": "5", "rounds": "3", "pool": "12.5"}


@pytest.fixture(autouse=True)
def evaluator(db: None) -> None:
    factories.account("Evaluator 1", "evaluator")


def start(client: Client, template: str = "blank", **more: str) -> TaskDraft:
    client.post("/tasks/new/", {"template": template} | more)
    return TaskDraft.objects.latest("pk")


def fund(client: Client, draft: TaskDraft, action: str = "fund") -> Any:
    return client.post(f"/tasks/drafts/{draft.pk}/review/", {"action": action}, follow=True)


# --- the form -------------------------------------------------------------------------------


def test_four_fields_are_enough() -> None:
    form = form_of(FILLED)
    assert form.is_valid(), form.errors
    assert form.terms.pool == 12_500_000_000_000_000_000
    assert (form.terms.config.rounds, form.terms.config.participants) == (3, 5)
    required = {name for name, field in TaskForm().fields.items() if field.required}
    assert required == set(REQUIRED)
    assert len(required) <= 5
    assert len(STEPS) <= 4


@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("algorithm", ALGORITHMS),
        ("partition", PARTITIONS),
        ("model", MODELS),
        ("dataset", DATASETS),
        ("scoring", SCORINGS),
        ("privacy", PRIVACY),
    ],
)
def test_it_offers_all_that_the_tables_hold(name: str, table: dict[str, Any]) -> None:
    form = TaskForm()
    field: Any = form.fields[name]
    assert [value for value, _ in field.choices] == list(table)
    for choice in table.values():
        for parameter in choice.parameters:
            assert f"{name}__{parameter.name}" in form.fields


def test_every_field_stands_in_exactly_one_step() -> None:
    form = TaskForm()
    names = [name for step in STEPS for name in form.names_of(step)]
    assert sorted(names) == sorted(form.fields)


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"model__hidden": "32, many"}, "model__hidden", "“32, many” is not accepted"),
        ({"model__hidden": "0"}, "model__hidden", "4096"),
        ({"rounds": "0"}, "rounds", "“0” is not accepted. Needs a whole number from 1 to 1000"),
        ({"rounds": ""}, "rounds", "Rounds is empty. Needs a whole number from 1 to 1000"),
        ({"title": " "}, "title", "Title is empty"),
        ({"local__learning_rate": "99"}, "local__learning_rate", "10"),
        ({"model": "cnn", "dataset": "breast_cancer"}, "model", "mlp"),
        ({"pool": "lots"}, "pool", "“lots” is not accepted. Needs an amount of FLT"),
        ({"pool": "1e-19"}, "pool", "decimal places"),
        ({"pool": "nan"}, "pool", "nan"),
        ({"participants": "1000", "dataset": "breast_cancer"}, "participants", "breast_cancer"),
        ({"seed": "-1"}, "seed", "from 0"),
        ({"algorithm": "krum", "algorithm__liars": "0.4"}, "algorithm__liars", "at most"),
        ({"scoring": "shapley", "participants": "12"}, "scoring", "shapley_sampled"),
        (
            {"privacy": "gaussian", "privacy__delta": "0.1", "participants": "20"},
            "privacy__delta",
            "below 1 ÷ 20 participants",
        ),
        ({"scoring": "guess"}, "scoring", "not among the choices"),
        ({"update_seconds": "soon"}, "update_seconds", "Needs a time from 1 s"),
        ({"hosted_places": "6"}, "hosted_places", "more than the 5 participants"),
        ({"min_participants": "9"}, "min_participants", "Use at most 5"),
        ({"outside_evaluators": "0x12"}, "outside_evaluators", "no Ethereum address"),
        ({"evaluators": []}, "evaluators", "Nobody would score"),
        ({"quorum": "2"}, "quorum", "from 1 to 1"),
        ({"model": "layers", "model__layers": "[{"}, "model__layers", "Line 1, column 3"),
        ({"model": "layers", "model__layers": '[{"layer": "Lambda"}]'}, "model__layers", "Dense"),
        (
            {"model": "layers", "model__layers": '[{"layer": "Dense"}]'},
            "model__layers",
            "Add Flatten",
        ),
    ],
)
def test_errors_stand_next_to_their_field(changes: dict[str, Any], field: str, words: str) -> None:
    form = form_of(FILLED | changes)
    assert not form.is_valid()
    assert words in " ".join(form.errors[field])
    assert field in [problem.name for problem in form.problems()]


def test_own_layers_and_times_in_units() -> None:
    layers = [{"layer": "Flatten"}, {"layer": "Dense", "units": 12, "activation": "tanh"}]
    form = form_of(
        FILLED | {"model": "layers", "model__layers": json.dumps(layers), "join_seconds": "2 h"}
    )
    assert form.is_valid(), form.errors
    assert form.terms.config.model.params == {"layers": layers}
    assert form.terms.seconds["join_seconds"] == 7200
    assert form.terms.seconds["update_seconds"] == 600


def test_own_files_are_listed_read_and_hashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BCFL_DATA_DIR", str(tmp_path))
    rows = "\n".join(f"{i},{i % 7},{i % 2}" for i in range(40))
    (tmp_path / "ward.csv").write_text(f"a,b,label\n{rows}\n")
    (tmp_path / "broken.csv").write_text("a,label\nx,1\n")
    form = form_of(FILLED | {"dataset": "own", "own_file": "ward.csv"})
    assert form.is_valid(), form.errors
    source = form.terms.config.dataset.source
    assert source is not None
    assert (source.file, source.samples, source.classes) == ("ward.csv", 40, 2)
    for name, words in (("broken.csv", "line 2"), ("gone.csv", "gone.csv"), ("", "Choose one")):
        form = form_of(FILLED | {"dataset": "own", "own_file": name})
        assert words in " ".join(form.errors["own_file"]).replace("row", "line")


def test_what_is_absent_is_greyed_and_says_what_it_needs(
    as_operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BCFL_DATA_DIR", raising=False)
    monkeypatch.setenv("KERAS_HOME", "/nowhere")
    draft = start(as_operator)
    page = as_operator.get(f"/tasks/drafts/{draft.pk}/data/").content.decode()
    assert '<option value="mnist" disabled>MNIST (not here)</option>' in page
    assert '<option value="digits" selected>' in page
    assert "Put the four IDX files" in page
    chosen = start(as_operator, "built-in:mnist")  # a browser must send the choice back
    page = as_operator.get(f"/tasks/drafts/{chosen.pk}/data/?check=1").content.decode()
    assert '<option value="mnist" selected>MNIST (not here)</option>' in page
    assert "form-errors" in page


def test_parameters_of_other_choices_are_ignored() -> None:
    form = form_of(FILLED | {"partition": "iid", "partition__alpha": "3", "model": "logistic"})
    assert form.is_valid(), form.errors
    assert form.terms.config.dataset.alpha == 0.5
    assert form.terms.config.model.params == {}


@pytest.mark.parametrize("template", BUILT_IN.values(), ids=lambda t: t.key)
def test_built_in_templates_make_valid_tasks(
    template: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(DATASETS["mnist"]), "unavailable", lambda self: "")
    assert set(template.values) <= set(TaskForm().fields)
    form = form_of(template.values)
    assert form.is_valid(), form.errors


# --- drafts ---------------------------------------------------------------------------------


def test_from_a_template_straight_to_a_task(as_operator: Client, operator: User) -> None:
    draft = start(as_operator, "built-in:hospitals", then="review")
    page = as_operator.get(f"/tasks/drafts/{draft.pk}/review/").content.decode()
    assert "Fund and start" in page
    assert "Multi-Krum" in page
    fund(as_operator, draft, "keep")
    task = Task.objects.get()
    assert (task.owner, task.stage, task.pool, task.rounds) == (
        operator,
        Task.Stage.DRAFT,
        1500 * FLT,
        15,
    )
    assert task.quote is not None
    assert not TaskDraft.objects.exists()


def test_each_step_keeps_what_was_typed_even_when_it_is_wrong(as_operator: Client) -> None:
    draft = start(as_operator)
    url = f"/tasks/drafts/{draft.pk}/data/"
    answer = as_operator.post(
        url, {"action": "next", "title": "Kept <title>", "participants": "many"}
    )
    page = answer.content.decode()
    assert answer.status_code == 422
    assert 'value="Kept &lt;title&gt;"' in page
    assert 'value="many"' in page
    assert "“many” is not accepted. Needs a whole number from 1 to 1000" in page
    assert 'href="#id_participants"' in page
    fresh = Client()  # another device
    fresh.force_login(draft.owner)
    assert 'value="many"' in fresh.get(url).content.decode()
    answer = as_operator.post(url, {"action": "go:terms", "title": "x", "participants": "many"})
    assert answer["Location"] == f"/tasks/drafts/{draft.pk}/terms/"
    answer = as_operator.post(url, {"action": "next", "title": "x", "participants": "3"})
    assert answer["Location"] == f"/tasks/drafts/{draft.pk}/training/"


def test_steps_go_on_and_back_and_leave(as_operator: Client) -> None:
    draft = start(as_operator, "built-in:first")
    base = f"/tasks/drafts/{draft.pk}"
    steps = list(STEPS)
    for at, step in enumerate(steps[:-1]):
        answer = as_operator.post(f"{base}/{step}/", {"action": "next", "evaluators": []})
        expected = 422 if step == "terms" else 302  # no box is ticked: nobody would score
        assert answer.status_code == expected
        if expected == 302:
            assert answer["Location"] == f"{base}/{steps[at + 1]}/"
    assert as_operator.post(f"{base}/terms/", {"action": "back"})["Location"] == f"{base}/training/"
    answer = as_operator.post(f"{base}/terms/", {"action": "leave"}, follow=True)
    assert "First try: digits" in answer.content.decode()
    assert as_operator.get(f"{base}/nonsense/").status_code == 404


def test_autosave_answers_with_the_cost_and_what_is_to_settle(as_operator: Client) -> None:
    draft = start(as_operator, "built-in:first")
    url = f"/tasks/drafts/{draft.pk}/save/"
    answer = as_operator.post(url, {"step": "training", "rounds": "7", "editor": "a"})
    page = answer.content.decode()
    assert answer["HX-Trigger"] == "draft-saved"
    assert 'id="wizard-quote"' in page
    assert "Saved" in page
    answer = as_operator.post(url, {"step": "training", "rounds": "seven", "editor": "a"})
    assert "1 field to settle" in answer.content.decode()
    draft.refresh_from_db()
    assert draft.values["rounds"] == "seven"
    assert draft.values["title"] == "First try: digits"


def test_two_pages_do_not_overwrite_each_other(as_operator: Client) -> None:
    draft = start(as_operator)
    url = f"/tasks/drafts/{draft.pk}/save/"
    post = {"step": "training", "version": "0"}
    as_operator.post(url, post | {"rounds": "7", "editor": "phone"})
    answer = as_operator.post(url, post | {"rounds": "9", "editor": "desk"})
    assert "changed on another page" in answer.content.decode()
    draft.refresh_from_db()
    assert draft.values["rounds"] == "7"
    as_operator.post(url, post | {"rounds": "8", "editor": "phone"})  # its own page goes on
    draft.refresh_from_db()
    assert draft.values["rounds"] == "8"
    as_operator.post(url, post | {"rounds": "9", "editor": "desk", "keep": "1"})
    draft.refresh_from_db()
    assert draft.values["rounds"] == "9"


def test_a_late_save_of_the_step_before_is_no_conflict(as_operator: Client) -> None:
    """Typed and pressed Next within the half second that autosave waits."""
    draft = start(as_operator)
    base = f"/tasks/drafts/{draft.pk}"
    fast = {"editor": "desk", "version": "0", "title": "Quick", "participants": "3"}
    page = as_operator.post(f"{base}/data/", fast | {"action": "next"}, follow=True)
    assert 'name="editor" value="desk"' in page.content.decode()
    as_operator.post(f"{base}/save/", fast | {"step": "data"})
    post = {"action": "next", "editor": "desk", "version": "1", "rounds": "3"}
    answer = as_operator.post(f"{base}/training/", post)
    assert (answer.status_code, answer["Location"]) == (302, f"{base}/terms/")
    # Opened once more, it is another writer.
    assert 'name="editor" value="desk"' in as_operator.get(f"{base}/terms/").content.decode()
    assert 'name="editor" value="desk"' not in as_operator.get(f"{base}/terms/").content.decode()


def test_a_save_that_was_overtaken_changes_nothing(as_operator: Client) -> None:
    """An autosave that is still on its way when Next has been answered knows less than Next."""
    draft = start(as_operator)
    base = f"/tasks/drafts/{draft.pk}"
    early = {"editor": "desk", "version": "0", "turn": "1", "title": "Qui", "participants": "3"}
    later = early | {"turn": "2", "title": "Quick"}
    page = as_operator.post(f"{base}/data/", later | {"action": "next"}, follow=True)
    assert 'name="turn" value="2"' in page.content.decode()
    as_operator.post(f"{base}/save/", early | {"step": "data"})
    draft.refresh_from_db()
    assert draft.values["title"] == "Quick"
    # Even when the later one changed nothing.
    as_operator.post(f"{base}/save/", later | {"turn": "4", "step": "training"})
    as_operator.post(f"{base}/save/", early | {"turn": "3", "step": "data"})
    draft.refresh_from_db()
    assert (draft.values["title"], draft.step) == ("Quick", "training")
    as_operator.post(f"{base}/save/", early | {"turn": "5", "step": "data"})
    draft.refresh_from_db()
    assert draft.values["title"] == "Qui"


def test_a_half_filled_draft_stands_under_drafts_and_does_not_start(as_operator: Client) -> None:
    draft = start(as_operator)
    page = as_operator.get("/tasks/?show=drafts").content.decode()
    assert "Untitled draft" in page
    assert "1 to settle" in page
    answer = fund(as_operator, draft)
    assert "Title is empty" in answer.content.decode()
    assert not Task.objects.exists()
    as_operator.post(f"/tasks/drafts/{draft.pk}/delete/")
    assert not TaskDraft.objects.exists()
    assert as_operator.get(f"/tasks/drafts/{draft.pk}/data/").status_code == 404


def test_starting_without_money_keeps_the_task_and_says_why(as_operator: Client) -> None:
    answer = fund(as_operator, start(as_operator, "built-in:first"))
    assert Task.objects.get().stage == Task.Stage.DRAFT
    assert "Saved, but not started" in answer.content.decode()
    assert "holds 0.00 FLT" in answer.content.decode()


def test_funding_starts_the_task(as_operator: Client, operator: User) -> None:
    factories.running_task(operator, rounds=1)  # brings the operator tokens
    fund(as_operator, start(as_operator, "built-in:first"))
    task = Task.objects.latest("pk")
    assert task.stage == Task.Stage.PREPARING
    assert task.seats.count() == 3


def test_nobody_else_opens_a_draft(as_operator: Client, as_participant: Client) -> None:
    draft = start(as_operator)
    other = Client()
    other.force_login(factories.user("operator", name="Nora"))
    for client in (other, as_participant):
        for path in ("data/", "quote.json", "partition/"):
            assert client.get(f"/tasks/drafts/{draft.pk}/{path}").status_code == 403
        assert client.post(f"/tasks/drafts/{draft.pk}/save/", {}).status_code == 403
        assert client.post(f"/tasks/drafts/{draft.pk}/delete/").status_code == 403
    assert as_participant.get("/tasks/new/").status_code == 403


def test_an_unstarted_task_is_changed_in_a_draft_of_its_own(
    as_operator: Client, operator: User
) -> None:
    task = factories.draft(operator)
    task.evaluator_accounts.set([factories.account("Evaluator 1", "evaluator")])
    as_operator.get(f"/tasks/{task.pk}/edit/")
    as_operator.get(f"/tasks/{task.pk}/edit/")
    draft = TaskDraft.objects.get()
    as_operator.post(
        f"/tasks/drafts/{draft.pk}/save/",
        {"step": "terms", "hosted_places": "2", "min_participants": "3", "join_seconds": "1 d",
         "pool": "77", "evaluators": draft.values["evaluators"]},
    )  # fmt: skip
    fund(as_operator, draft, "keep")
    task.refresh_from_db()
    assert (task.hosted_places, task.min_participants, task.join_seconds, task.pool) == (
        2,
        3,
        86_400,
        77 * FLT,
    )
    assert Task.objects.count() == 1


def test_a_task_fills_the_form_with_itself(operator: User) -> None:
    task = factories.draft(operator, participants=4, rounds=7)
    task.evaluator_accounts.set([factories.account("Evaluator 1", "evaluator")])
    form = form_of(task_values(task))
    assert form.is_valid(), form.errors
    ours = form.terms.config.to_dict() | {"salt": ""}
    assert ours == TaskConfig.from_dict(task.config or {}).to_dict() | {"salt": ""}
    assert (form.terms.pool, form.terms.stake) == (task.pool, task.stake)


def test_clone_makes_a_draft_with_the_same_settings(as_operator: Client, operator: User) -> None:
    task = factories.finished_task(operator, title="The first").task
    answer = as_operator.post(f"/tasks/{task.pk}/clone/")
    draft = TaskDraft.objects.get()
    assert answer["Location"] == f"/tasks/drafts/{draft.pk}/data/"
    assert draft.title == "The first, again"
    assert draft.values["rounds"] == "3"
    assert f"Clone of task {task.pk}" in draft.origin


# --- templates ------------------------------------------------------------------------------


def test_a_task_becomes_a_template_private_or_shared(as_operator: Client, operator: User) -> None:
    task = factories.draft(operator, rounds=9)
    answer = as_operator.post(f"/tasks/{task.pk}/template/", {"name": " "})
    assert answer.status_code == 422
    assert "Needs 1 to 80" in answer.content.decode()
    as_operator.post(f"/tasks/{task.pk}/template/", {"name": "Monthly", "description": "Ours"})
    template = TaskTemplate.objects.get()
    other = Client()
    other.force_login(factories.user("operator", name="Nora"))
    assert "Monthly" not in other.get("/tasks/new/").content.decode()
    other.post("/tasks/new/", {"template": f"saved:{template.pk}"})
    assert not TaskDraft.objects.exists()
    as_operator.post(f"/tasks/{task.pk}/template/", {"name": "Monthly", "shared": "on"})
    assert TaskTemplate.objects.get().shared  # saved again under its name
    assert "Monthly" in other.get("/tasks/new/").content.decode()
    assert other.post(f"/tasks/templates/{template.pk}/delete/").status_code == 403
    draft = start(other, f"saved:{template.pk}")
    assert (draft.values["rounds"], draft.origin) == ("9", "Template: Monthly")
    as_operator.post(f"/tasks/templates/{template.pk}/delete/")
    assert not TaskTemplate.objects.exists()


# --- beside the steps -----------------------------------------------------------------------


def test_the_picture_shows_the_partition_that_training_uses(as_operator: Client) -> None:
    from training import data

    draft = start(as_operator, "built-in:noniid")
    url = f"/tasks/drafts/{draft.pk}/partition"
    found = as_operator.get(f"{url}.json").json()
    config = form_of(draft.values).terms.config
    assert [s["samples"] for s in found["shares"]] == [
        len(data.share(config, slot)) for slot in range(10)
    ]
    assert as_operator.get(f"{url}.csv").content.decode().startswith("share,samples,0,1,2")
    page = as_operator.get(f"{url}/").content.decode()
    assert page.count('class="bar"') == 10
    assert "of 10 classes" in page
    as_operator.post(f"/tasks/drafts/{draft.pk}/save/", {"step": "data", "participants": "x"})
    assert "fit together" in as_operator.get(f"{url}/").content.decode()


def test_the_quote_of_a_draft_with_remembered_prices(as_operator: Client, operator: User) -> None:
    draft = start(as_operator, "built-in:first")
    url = f"/tasks/drafts/{draft.pk}/prices/"
    bad = as_operator.post(url, {"name": "Ethereum", "gas_price": "cheap"})
    assert bad.status_code == 422
    assert "“cheap” is not accepted. Needs an amount of gwei" in bad.content.decode()
    as_operator.post(url, {"name": "Ethereum", "gas_price": "20", "coin_price": "2500"})
    price = NetworkPrice.objects.get()
    assert price.gas_price == 20 * 10**9
    made = as_operator.get(f"/tasks/drafts/{draft.pk}/quote.json").json()
    (ethereum,) = made["networks"]
    assert int(ethereum["fee"]) == made["gas"] * 20 * 10**9
    assert ethereum["money"] == pytest.approx(made["gas"] * 20e-9 * 2500)
    page = as_operator.get(f"/tasks/drafts/{draft.pk}/review/").content.decode()
    assert "Ethereum" in page
    as_operator.post(f"{url}{price.pk}/forget/")
    assert not NetworkPrice.objects.exists()


def test_without_a_node_the_check_says_so(as_operator: Client) -> None:
    draft = start(as_operator, "built-in:first")
    page = as_operator.get(f"/tasks/drafts/{draft.pk}/check/").content.decode()
    assert "Not checked" in page


# --- invitations ----------------------------------------------------------------------------


def test_the_task_is_saved_and_people_are_invited(
    as_operator: Client, operator: User, django_capture_on_commit_callbacks: Any
) -> None:
    draft = start(as_operator)
    draft.values = FILLED | {
        "invite__emails": "ana@north.org, ben@south.org",
        "invite__links": "2",
        "invite__message": "For the spring run",
    }
    draft.save()
    review = as_operator.get(f"/tasks/drafts/{draft.pk}/review/").content.decode()
    assert "ana@north.org, ben@south.org; 2 links to pass on" in review
    with django_capture_on_commit_callbacks(execute=True):
        answer = fund(as_operator, draft, "keep")
    assert "4 invitations made" in answer.content.decode()
    task = Task.objects.get()
    sent = Invitation.objects.filter(task=task, invited_by=operator, role="participant")
    assert sorted(sent.values_list("email", flat=True)) == ["", "", *mails()]
    assert {invitation.message for invitation in sent} == {"For the spring run"}
    assert mails() == ["ana@north.org", "ben@south.org"]
    # A change of the task invites nobody again.
    as_operator.get(f"/tasks/{task.pk}/edit/")
    fund(as_operator, TaskDraft.objects.get(), "keep")
    assert Invitation.objects.count() == 4


def mails() -> list[str]:
    return sorted(address for sent in mail.outbox for address in sent.to)


@pytest.mark.parametrize(
    ("emails", "words"),
    [
        ("ana@", "“ana@” is no e-mail address"),
        ("a@b.org A@b.org", "stands here twice"),
        (" ".join(f"a{n}@b.org" for n in range(51)), "more than 50 at once"),
    ],
)
def test_addresses_are_checked_before_anything_is_sent(emails: str, words: str) -> None:
    assert words in " ".join(form_of(FILLED | {"invite__emails": emails}).errors["invite__emails"])


# --- a wallet of one's own ------------------------------------------------------------------


def test_the_last_step_can_hand_over_to_a_wallet(as_operator: Client, operator: User) -> None:
    draft = start(as_operator)
    draft.values = dict(FILLED)
    draft.save()
    page = as_operator.get(f"/tasks/drafts/{draft.pk}/review/").content.decode()
    assert "Fund from my own wallet" in page
    answer = fund(as_operator, draft, "wallet")
    task = Task.objects.get()
    assert answer.redirect_chain[-1][0] == f"/tasks/{task.pk}/wallet/"
    assert (task.stage, task.operator_account) == (Task.Stage.PREPARING, None)
    body = answer.content.decode()
    assert "Nothing is" in body
    assert "Back to the draft" in body
    assert f"/tasks/{task.pk}/wallet/" in as_operator.get(f"/tasks/{task.pk}/").content.decode()
    as_operator.post(f"/tasks/{task.pk}/wallet/undo/")
    task.refresh_from_db()
    assert task.stage == Task.Stage.DRAFT


def test_who_has_no_hosted_account_funds_from_a_wallet(as_operator: Client, operator: User) -> None:
    operator.account = None
    operator.save()
    draft = start(as_operator)
    draft.values = dict(FILLED)
    draft.save()
    page = as_operator.get(f"/tasks/drafts/{draft.pk}/review/").content.decode()
    assert "your own wallet funds it" in page
    assert 'value="fund"' not in page
    fund(as_operator, draft, "keep")
    page = as_operator.get(f"/tasks/{Task.objects.get().pk}/").content.decode()
    assert "Start from my wallet" in page
    assert 'id="start"' not in page


def test_another_operator_signs_nothing_for_it(as_operator: Client, client: Client) -> None:
    draft = start(as_operator)
    draft.values = dict(FILLED)
    draft.save()
    fund(as_operator, draft, "wallet")
    task = Task.objects.get()
    client.force_login(factories.user("operator", name="Other"))
    assert client.get(f"/tasks/{task.pk}/wallet/").status_code == 403
    asked = {"task": task.pk, "address": "0x" + "1" * 40}
    for url in ("/wallet/desk/", "/wallet/prepare/"):
        answer = client.post(url, asked | {"action": "fund"}, content_type="application/json")
        assert answer.status_code == 400
        assert "Only the operator of task" in answer.json()["error"]
