"""What an ablation will leave out, planned from a study, a config and the function's switches."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
from torch import nn

from lagom_magic import AblationStudy, Categorical, Float, Switch
from lagom_magic.errors import ConfigError
from lagom_magic.spec.config import AblationConfig
from lagom_magic.spec.inspection import FunctionPlan, plan_function
from lagom_magic.spec.study import leaves_out_itself
from lagom_magic.spec.variants import AblationPlan, Variant

FRAME = pd.DataFrame({"age": [1, 2], "fare": [3.0, 4.0], "y": [0, 1]})


def make_net() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))


def small() -> nn.Module:
    return nn.Linear(2, 1)


def fit(model, dataset, augment: Switch() = True, decay: Switch(0.0) = 0.1, lr=0.1): ...


def plain(augment: Switch() = True, width=3): ...


def planned(train_fn: Callable[..., Any] = fit, study: AblationStudy | None = None, **values: Any) -> FunctionPlan:
    return plan_function(train_fn, AblationConfig(ablation_study=study, **values))


def ablation(train_fn: Callable[..., Any] = fit, study: AblationStudy | None = None, **values: Any) -> AblationPlan:
    plan = planned(train_fn, study, **values).ablation
    assert plan is not None
    return plan


def complaint(*args: Any, **values: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        planned(*args, **values)
    return str(caught.value)


@pytest.fixture
def study() -> AblationStudy:
    return AblationStudy(dataset=FRAME, label_name="y", model=make_net)


def test_every_kind_of_component_becomes_a_variant(study: AblationStudy) -> None:
    study.features.include()
    study.model.layers.include("1")
    study.model.layers.include_groups(["0", "1"])
    study.add("small", model=small)
    study.add("fast", lr=1)
    plan = ablation(study=study)
    assert plan.components == ("age", "fare", "1", "0, 1", "augment", "decay", "small", "fast")
    assert plan.variants["baseline"] == Variant("baseline")
    assert plan.variants["age"].features == ("age",)
    assert plan.variants["0, 1"].layers == ("0", "1")
    assert plan.variants["decay"].values == {"decay": 0.0}
    assert plan.variants["small"].model is small
    assert plan.variants["fast"].values == {"lr": 1}
    assert plan.takes == ("model", "dataset")
    json.dumps(plan.document(), allow_nan=False)


def test_switches_of_the_signature_need_no_study() -> None:
    plan = planned(plain)
    assert plan.ablation is not None
    assert plan.ablation.components == ("augment",)
    assert "augment" in plan.hparam_names


def test_a_switch_without_a_default_is_on_in_the_baseline() -> None:
    def bare(augment: Switch()): ...

    assert planned(bare).fixed_hparams == {"augment": True}


def test_a_switch_that_was_fixed_to_off_is_no_component_and_another_value_is_the_baselines() -> None:
    assert ablation(study=custom(), hparams={"decay": 0.5, "augment": False}).components == ("decay", "small")
    assert "is off by default (False): there is nothing to leave out" in complaint(off_by_default)


def off_by_default(augment: Switch() = False): ...


def custom() -> AblationStudy:
    study = AblationStudy(model=make_net, dataset=FRAME)
    study.add("small", model=small)
    return study


def test_pairs_are_of_parts_that_do_not_overlap_and_not_of_custom_variants(study: AblationStudy) -> None:
    study.features.include("age")
    study.model.layers.include("0", "1")
    study.model.layers.include_groups(["0", "1"])
    study.add("small", model=small)
    components = ablation(study=study, order=2, hparams={"augment": False, "decay": 0.0}).components
    assert components == ("age", "0", "1", "0, 1", "small", "age + 0", "age + 1", "age + 0, 1", "0 + 1")


def test_a_pair_leaves_out_both() -> None:
    pair = Variant("a", features=("a",)).and_also(Variant("decay", values={"decay": 0.0}))
    assert (pair.label, pair.features, pair.values) == ("a + decay", ("a",), {"decay": 0.0})


def test_components_can_be_excluded_pairs_too(study: AblationStudy) -> None:
    study.features.include()
    study.exclude("augment + decay", "age")
    components = ablation(study=study, order=2).components
    assert components == ("fare", "augment", "decay", "fare + augment", "fare + decay")
    study.exclude("fares")
    assert "study.exclude names 'fares', which is not there" in complaint(study=study, order=2)


def test_one_name_for_two_kinds_is_told_apart_by_the_kind() -> None:
    study = AblationStudy(dataset=pd.DataFrame({"augment": [1], "b": [1], "y": [1]}), label_name="y")
    study.features.include()

    def train(dataset, augment: Switch() = True): ...

    assert ablation(train, study).components == ("feature augment", "b", "switch augment")


def test_the_data_of_the_config_can_be_the_studys(study: AblationStudy) -> None:
    def train(train_set, test_set, model): ...

    only = AblationStudy(label_name="y")
    only.features.include()
    plan = planned(train, only, train_set=FRAME, test_set=FRAME, model=make_net)
    assert plan.ablation is not None
    assert plan.ablation.components == ("age", "fare")
    assert set(plan.ablation.data) == {"train_set", "test_set"}
    assert plan.fixed == {}
    assert "the study has a model, and --model gives another one" in complaint(study=study, model=small)


def test_without_features_data_go_to_the_function_as_they_are() -> None:
    def train(dataset, augment: Switch() = True): ...

    plan = planned(train, dataset=FRAME)
    assert plan.fixed["dataset"] is FRAME


def test_a_study_that_cannot_reach_the_function_is_refused(study: AblationStudy) -> None:
    study.model.layers.include("0")
    assert "but plain() takes no `model`. Add the argument" in complaint(plain, study)
    of_data = AblationStudy(dataset=FRAME, label_name="y")
    of_data.features.include()
    assert "but plain() takes no `dataset`." in complaint(plain, of_data)


def test_nothing_to_leave_out_is_an_error_that_shows_both_ways() -> None:
    def bare(lr=0.1): ...

    message = complaint(bare)
    assert "nothing to leave out of bare()" in message
    assert "augment: Switch() = True" in message
    assert "AblationStudy(" in message


def test_misspelt_names_are_told_before_anything_runs(study: AblationStudy) -> None:
    study.features.include("agee")
    assert "Did you mean age?" in complaint(study=study)
    study = AblationStudy(model=make_net, dataset=FRAME)
    study.model.layers.include("10")
    assert "layers.include names '10', which is not there; known: 0, 1, 2" in complaint(study=study)
    study = custom()
    study.add("quick", lrr=1)
    assert "Did you mean lr?" in complaint(study=study)


def test_a_label_that_is_no_column_is_told(study: AblationStudy) -> None:
    study = AblationStudy(dataset=FRAME, label_name="yy", model=make_net)
    study.features.include()
    assert "'yy'" in complaint(study=study)


def test_a_model_that_needs_arguments_is_told_how_to_do_without() -> None:
    def wide(width): ...

    study = AblationStudy(dataset=FRAME, model=wide)
    study.model.layers.include("0")
    assert "the model wide needs width, so its parts cannot be listed" in complaint(study=study)
    assert "functools.partial(wide, width=…)" in complaint(study=study)
    study = AblationStudy(dataset=FRAME, model=partial(nn.Linear, 2, 1))
    study.model.layers.include("0")
    assert "layers.include names '0'" in complaint(study=study)


def test_a_generator_of_data_without_names_may_be_told_any_name() -> None:
    study = AblationStudy(model=make_net)
    study.set_dataset_generator(lambda leave_out: object())
    study.features.include("a")
    assert ablation(study=study, hparams={"augment": False, "decay": 0.0}).components == ("a",)
    study.features.include()
    assert "object" in complaint(study=study)


def test_a_generator_of_named_data_is_held_to_their_names() -> None:
    study = AblationStudy(model=make_net, label_name="y")
    study.set_dataset_generator(lambda leave_out: FRAME.drop(columns=leave_out))
    study.features.include("fair")
    assert "Did you mean fare?" in complaint(study=study)


def test_an_unseeded_ablation_and_a_wrong_width_or_order_are_refused() -> None:
    for values, words in (
        ({"seed": None}, "compares variants under the same seeds"),
        ({"until_width": 0}, "until_width (--until-width) is 0; allowed: a width of an interval, > 0."),
        ({"until_width": 0.1}, "Use repeats=5 (--repeats 5)."),
        ({"order": 3}, "order (--order) is 3; allowed: 1, or 2 for pairs."),
        ({"order": 2}, "there is only augment"),
        ({"hparams": {"width": 2}, "name": "x", "num_trials": 0}, "num_trials (--trials) is 0"),
    ):
        assert words in complaint(plain, **values)


def test_a_hyperparameter_called_as_our_own_is_refused() -> None:
    def train(repeat: Float(0, 1) = 0.5, augment: Switch() = True): ...

    assert "'repeat' is what an ablation calls a trial's repeat" in complaint(train)


def test_a_domain_keeps_its_default_in_an_ablation() -> None:
    def train(lr: Float(0, 1) = 0.5, kind: Categorical(["a", "b"]) = "a", augment: Switch() = True): ...

    assert planned(train).fixed_hparams == {"lr": 0.5, "kind": "a"}


def test_what_only_an_ablation_fills_is_told_so() -> None:
    def train(model_function, augment: Switch() = True): ...

    assert complaint(train) == (
        "Nothing fills argument 'model_function' of train(): %%lagom ablate does, with the study's model: "
        "AblationStudy(model=make_model)."
    )


def test_a_study_refuses_what_cannot_work() -> None:
    for act, words in (
        (lambda: AblationStudy("titanic", 1, label_name="y"), "AblationStudy('titanic', …)"),
        (lambda: AblationStudy(label_name=3), "label_name: got 3; allowed: a column's name."),
        (lambda: AblationStudy(model=nn.Linear(1, 1)), "is an instance of Linear"),
        (lambda: AblationStudy(model=[make_net]), "an ablation takes one model"),
        (lambda: AblationStudy().set_dataset_generator(lambda: FRAME), "takes no argument; it must take the features"),
        (lambda: AblationStudy().add("baseline", lr=1), "that name is taken"),
        (lambda: AblationStudy().add("x"), "differs in nothing"),
        (lambda: AblationStudy().add(" ", lr=1), "a name of one line"),
        (AblationStudy().features.list_all, "the study has no dataset"),
        (AblationStudy().model.layers.print_all, "the study has no model"),
    ):
        with pytest.raises(ConfigError) as caught:
            act()
        assert words in str(caught.value)


def test_maggys_names_work() -> None:
    study = AblationStudy(label_name="y")
    study.model.set_base_model_generator(make_net)
    study.model.add_custom_model_generator(small, "tiny")
    study.set_dataset_generator(lambda leave_out: FRAME.drop(columns=leave_out))
    study.features.include(["age"])
    study.model.layers.include(["1"])
    components = ablation(study=study, hparams={"augment": False, "decay": 0.0}).components
    assert components == ("age", "1", "tiny")
    assert study.model.steps is study.model.layers


def test_a_variant_that_would_be_a_second_baseline_is_refused(study: AblationStudy) -> None:
    def train(train_set, test_set, lr=0.1, hparams=None): ...

    for adds, words in (
        ({"dataset": FRAME}, "takes neither `dataset` nor `dataset_function`"),
        ({"seed": 7}, "names 'seed', which lagom fills itself"),
        ({"lrr": 1}, "Did you mean lr?"),
        ({"lr": 0.1}, "lr=0.1 is what the baseline has too"),
    ):
        own = AblationStudy(label_name="y")
        own.add("mine", **adds)
        assert words in complaint(train, own, train_set=FRAME, test_set=FRAME)


def test_a_function_of_any_keyword_takes_variants_of_any_name() -> None:
    def train(**options): ...

    study = AblationStudy()
    study.add("quick", lr=0.1)
    plan = planned(train, study)
    assert plan.ablation is not None
    assert plan.ablation.components == ("quick",)
    assert "lr" in plan.hparam_names


def test_two_names_for_the_same_part_are_refused(study: AblationStudy) -> None:
    study.model.layers.include("1")
    study.model.layers.include_groups(prefix="1")
    assert "'1' and '1*' leave out the same" in complaint(study=study)


def test_a_plus_in_a_name_does_not_make_a_pair() -> None:
    study = AblationStudy(dataset=pd.DataFrame({"a + b": [1], "a": [1], "y": [1]}), label_name="y")
    study.features.include()
    study.add("a + a", decay=0.5)
    assert ablation(study=study, model=make_net, hparams={"augment": False}).components == ("a+b", "a", "decay", "a+a")


def test_a_feature_that_another_set_lacks_is_told_before_anything_runs() -> None:
    def train(train_set, test_set): ...

    study = AblationStudy(label_name="y")
    study.features.include("age")
    message = complaint(train, study, train_set=FRAME, test_set=FRAME.drop(columns="age"))
    assert "test_set: a feature of the study names 'age', which is not there; known: fare" in message


def test_a_function_of_data_with_a_default_of_another_kind_is_not_told_names() -> None:
    def by_seed(seed=0):
        return FRAME

    def leaving_out(leave_out=()):
        return FRAME.drop(columns=list(leave_out))

    assert not leaves_out_itself(by_seed)
    assert leaves_out_itself(leaving_out)


def test_a_switch_of_an_array_is_compared_as_one() -> None:
    ones = np.array([1, 1])

    def train(weights: Switch(None) = ones): ...

    assert ablation(train).components == ("weights",)


def test_a_study_shows_what_it_leaves_out(study: AblationStudy) -> None:
    assert repr(study) == "AblationStudy(dataset: DataFrame; label_name: y; model: make_net)"
    study.features.include()
    study.features.exclude("age")
    study.model.layers.include("1")
    study.model.layers.include_groups(["0", "1"])
    study.add("small", model=small)
    assert repr(study) == (
        "AblationStudy(dataset: DataFrame; label_name: y; model: make_net; features: all but age; layers: 1, [0, 1]; "
        "variants: small)"
    )


def test_a_study_whose_data_do_not_reach_the_function_is_refused(study: AblationStudy) -> None:
    def train(train_set=None, model=None): ...

    study.features.include()
    message = complaint(train, study)
    assert "leaves features out of dataset, but train() takes train_set only. Name the argument 'dataset'" in message


def test_a_variant_with_its_own_model_needs_one_for_the_baseline_too() -> None:
    def train(model): ...

    def with_default(model=make_net): ...

    study = AblationStudy()
    study.add("small", model=small)
    assert "variants with a model of their own, and none for the baseline" in complaint(train, study)
    assert ablation(train, study, model=make_net).components == ("small",)
    assert ablation(with_default, study).components == ("small",)
