def train(lr, width, activation, reporter):
    print("training with", activation)
    if width == 3:
        raise ValueError("width 3 does not divide the batch")
    accuracy = 0.0
    for epoch in range(3):
        accuracy = 1 - abs(lr - 0.01) * 10 - 1 / (width + epoch)
        reporter.broadcast(accuracy, step=epoch)
    with open("summary.txt", "w") as file:
        file.write(f"accuracy {accuracy:.3f}\n")
    return {"accuracy": accuracy, "loss": 1 - accuracy, "summary": "summary.txt"}
