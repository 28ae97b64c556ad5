"""Lightning and Hugging Face: what the module or the trainer logs is reported, an epoch or a log at a time."""

from __future__ import annotations

import pytest
from logged_runs import Track

from lagom_magic import Ordinal

#: Both libraries talk of the machine and of what is about to change in torch.
pytestmark = pytest.mark.slow


def fit_with_lightning(package, lr, epochs):
    import importlib

    import torch

    lightning = importlib.import_module(package)
    torch.set_num_threads(1)
    torch.manual_seed(1)

    class Line(lightning.LightningModule):
        def __init__(self, lr):
            super().__init__()
            self.save_hyperparameters()
            self.layer = torch.nn.Linear(1, 1)

        def training_step(self, batch, _):
            loss = torch.nn.functional.mse_loss(self.layer(batch[0]), batch[1])
            self.log("train_loss", loss, on_step=False, on_epoch=True)
            return loss

        def on_train_epoch_end(self):
            self.log("epoch_again", float(self.current_epoch))

        def validation_step(self, batch, _):
            self.log("val_loss", torch.nn.functional.mse_loss(self.layer(batch[0]), batch[1]))

        def test_step(self, batch, index):
            self.log("test_loss", torch.nn.functional.mse_loss(self.layer(batch[0]), batch[1]))

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)

    x = torch.linspace(0, 1, 8).reshape(8, 1)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, 2 * x), batch_size=4)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = lightning.Trainer(max_epochs=epochs, accelerator="cpu", enable_checkpointing=False, **quiet)
    model = Line(lr)
    trainer.fit(model, loader, loader)
    last = trainer.callback_metrics["val_loss"].item()
    trainer.test(model, loader, verbose=False)
    return last


@pytest.mark.parametrize("package", ["lightning.pytorch", "pytorch_lightning"])
def test_epochs_of_lightning(track: Track, package: str) -> None:
    def train(package, lr):
        return {"score": fit_with_lightning(package, lr, epochs=3)}

    logged = track(train, hparams={"package": package, "lr": 0.1}, optimization_key="score")
    assert logged.run.state == "COMPLETE", logged.trial.error
    curve = logged.curve("val_loss")
    assert [step for step, _ in curve[:3]] == [0, 1, 2]
    assert curve[2][1] == logged.trial.metric
    assert [value for _, value in logged.curve("epoch_again")[:3]] == [0.0, 1.0, 2.0]
    assert len(logged.curve("train_loss")) >= 3
    assert logged.reports[-1].metrics["test_loss"] == pytest.approx(logged.trial.metric)
    params = logged.trial.params
    assert (params["lightning.max_epochs"], params["lightning.lr"]) == (3, 0.1)
    assert (params["lightning.optimizer"], params["lightning.learning_rate"]) == ("SGD", 0.1)
    assert logged.trial.warnings == ()


def test_a_lightning_trial_is_pruned_between_epochs(track: Track) -> None:
    def train(lr):
        fit_with_lightning("lightning.pytorch", lr, epochs=4)

    logged = track(
        train,
        searchspace={"lr": Ordinal([0.2, 0.1, 0.00001])},
        optimizer="grid",
        num_trials=3,
        es_min=2,
        optimization_key="val_loss",
        direction="min",
    )
    states = {trial.hparams["lr"]: trial.state.value for trial in logged.run.view.trials.values()}
    assert states == {0.2: "COMPLETE", 0.1: "COMPLETE", 0.00001: "PRUNED"}


def test_logs_of_a_hugging_face_trainer(track: Track) -> None:
    def train(learning_rate):
        import torch
        from transformers import Trainer, TrainingArguments

        torch.set_num_threads(1)

        class Line(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = torch.nn.Linear(1, 1)

            def forward(self, x, labels):
                out = self.layer(x)
                return {"loss": torch.nn.functional.mse_loss(out, labels), "logits": out}

        rows = [{"x": torch.tensor([i / 8]), "labels": torch.tensor([i / 4])} for i in range(8)]
        arguments = TrainingArguments(
            "out",
            learning_rate=learning_rate,
            per_device_train_batch_size=4,
            num_train_epochs=2,
            logging_steps=1,
            eval_strategy="epoch",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
        )
        trainer = Trainer(Line(), arguments, train_dataset=rows, eval_dataset=rows)
        trainer.train()
        return {"score": trainer.evaluate()["eval_loss"]}

    logged = track(train, hparams={"learning_rate": 0.01}, optimization_key="score")
    assert logged.run.state == "COMPLETE", logged.trial.error
    assert [step for step, _ in logged.curve("loss")] == [1, 2, 3, 4]
    assert [step for step, _ in logged.curve("eval_loss")] == [2, 4, 4]
    assert logged.curve("eval_loss")[-1][1] == logged.trial.metric
    names = {name for report in logged.reports for name in report.metrics}
    assert names == {"loss", "grad_norm", "learning_rate", "eval_loss", "train_loss"}
    assert logged.trial.params["transformers.learning_rate"] == 0.01
    assert logged.trial.params["transformers.num_train_epochs"] == 2
    assert logged.trial.warnings == ()
