// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.TestKit;

/// <summary>One operation that a <see cref="HoldNode"/> keeps in flight.</summary>
/// <remarks>Threading. All members are safe from any thread. Waiters resume on the thread pool.</remarks>
public sealed class Hold
{
    private readonly Func<BlockOperation, bool> _predicate;
    private readonly bool _isAfter;
    private readonly TaskCompletionSource<BlockOperation> _reached =
        new(TaskCreationOptions.RunContinuationsAsynchronously);

    private readonly TaskCompletionSource _released = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private BlockOperation _operation;

    internal Hold(Func<BlockOperation, bool> predicate, bool isAfter)
    {
        _predicate = predicate;
        _isAfter = isAfter;
    }

    /// <summary>Completes with the operation when it is held.</summary>
    public Task<BlockOperation> Reached => _reached.Task;

    /// <summary>True from the moment an operation is held, also after it was let go.</summary>
    public bool IsReached => _reached.Task.IsCompleted;

    /// <summary>Lets the operation go on, also when it has not arrived yet.</summary>
    public void Release() => _released.TrySetResult();

    /// <summary>Ends the operation with a failure instead.</summary>
    public void Fail(string kind = BlockErrors.IoFailed) =>
        _released.TrySetException(new BlockException(kind, "A test made a held operation fail."));

    internal static Task BeforeAsync(Hold? hold, CancellationToken cancellationToken) =>
        hold is null || hold._isAfter ? Task.CompletedTask : hold.WaitAsync(cancellationToken);

    internal static Task AfterAsync(Hold? hold, CancellationToken cancellationToken) =>
        hold is null || !hold._isAfter ? Task.CompletedTask : hold.WaitAsync(cancellationToken);

    internal bool Picks(BlockOperation operation)
    {
        if (!_predicate(operation))
        {
            return false;
        }

        _operation = operation;
        return true;
    }

    private Task WaitAsync(CancellationToken cancellationToken)
    {
        _reached.TrySetResult(_operation);
        return _released.Task.WaitAsync(cancellationToken);
    }
}
