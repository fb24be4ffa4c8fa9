"""Reading anyone's runs: tables, exports, TensorBoard files and folders of trainings become runs."""
