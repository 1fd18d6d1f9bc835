// SPDX-License-Identifier: MIT
using System.Threading.Channels;
using Fleece.Block;
using Fleece.Hosting.Control;

namespace Fleece.Hosting.Tests.Rpc;

/// <summary>A contract with each shape of method that the real ones have.</summary>
internal interface ITestControl
{
    ValueTask<int> AddAsync(int left, int right, CancellationToken cancellationToken);

    ValueTask<SessionRequest> EchoAsync(SessionRequest request, CancellationToken cancellationToken);

    ValueTask<string> DescribeAsync(DiskReference? disk, bool isForced, int count = 7, CancellationToken cancellationToken = default);

    ValueTask FailAsync(string how, CancellationToken cancellationToken);

    /// <summary>Ends when it is cancelled or released.</summary>
    ValueTask<string> WaitAsync(CancellationToken cancellationToken);

    /// <summary>Blocks its thread until it is released.</summary>
    ValueTask BlockAsync(CancellationToken cancellationToken);

    ValueTask<string> LongTextAsync(int length, CancellationToken cancellationToken);

    void Tell(int number);
}

internal sealed class TestControl : ITestControl
{
    private readonly TaskCompletionSource _released = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Channel<bool> _started = Channel.CreateUnbounded<bool>();
    private int _callCount;

    /// <summary>Calls of <see cref="WaitAsync"/> that were cancelled.</summary>
    public Channel<bool> Cancelled { get; } = Channel.CreateUnbounded<bool>();

    public Channel<int> Told { get; } = Channel.CreateUnbounded<int>();

    /// <summary>Calls of all kinds so far.</summary>
    public int CallCount => _callCount;

    /// <summary>The error that <see cref="FailAsync"/> throws for "engine".</summary>
    public BlockException Error { get; set; } = new(BlockErrors.NoSpace, "The disk is full.");

    public Task StartedAsync() => _started.Reader.ReadAsync(TestContext.Current.CancellationToken).AsTask();

    public void Release() => _released.TrySetResult();

    public ValueTask<int> AddAsync(int left, int right, CancellationToken cancellationToken) => Count(left + right);

    public ValueTask<SessionRequest> EchoAsync(SessionRequest request, CancellationToken cancellationToken) => Count(request);

    public ValueTask<string> DescribeAsync(DiskReference? disk, bool isForced, int count, CancellationToken cancellationToken) =>
        Count($"{disk?.Name ?? "none"} {isForced} {count}");

    public async ValueTask FailAsync(string how, CancellationToken cancellationToken)
    {
        await Count(0);
        throw how switch
        {
            "engine" => Error,
            "cancelled" => new OperationCanceledException(),
            _ => new InvalidOperationException("The secret of this defect."),
        };
    }

    public async ValueTask<string> WaitAsync(CancellationToken cancellationToken)
    {
        await Count(0);
        _started.Writer.TryWrite(true);
        try
        {
            await _released.Task.WaitAsync(cancellationToken);
            return "released";
        }
        catch (OperationCanceledException)
        {
            Cancelled.Writer.TryWrite(true);
            throw;
        }
    }

    public ValueTask BlockAsync(CancellationToken cancellationToken)
    {
        _started.Writer.TryWrite(true);
#pragma warning disable xUnit1031 // The point is a method that blocks.
        _released.Task.Wait(cancellationToken);
#pragma warning restore xUnit1031
        return default;
    }

    public ValueTask<string> LongTextAsync(int length, CancellationToken cancellationToken) => Count(new string('x', length));

    public void Tell(int number) => Told.Writer.TryWrite(number);

    private ValueTask<T> Count<T>(T answer)
    {
        Interlocked.Increment(ref _callCount);
        return new(answer);
    }
}
