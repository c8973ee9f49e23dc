"""What a Python worker of RQ imports to run the jobs that forkmark runs, too."""
