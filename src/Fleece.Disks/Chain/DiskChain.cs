// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.DirtyBitmaps;

namespace Fleece.Disks.Chain;

/// <summary>The chain of a disk: the device that guests and cmdlets talk to, what records changes in bitmaps, filter of the newest
/// session, ..., filter of the oldest, image.</summary>
/// <remarks>It changes in a <see cref="ChainChange"/> and nowhere else (R6). Threading. All members are safe from any thread.</remarks>
#pragma warning disable CA1001 // The lock has no handle, and a session that ends after its disk still takes it.
internal sealed class DiskChain
{
    private static long s_lastSerial;

    /// <summary>Makes the chain of a disk without sessions.</summary>
    /// <param name="name">The disk's name.</param>
    /// <param name="image">The image, which the caller goes on owning.</param>
    /// <param name="witness">Hears of every change that is recorded.</param>
    public DiskChain(string name, IBlockNode image, IChangeWitness witness)
    {
        Name = name;
        Tracking = new DirtyTrackingNode(image, witness);
        Device = new BlockDevice(Tracking, name);
    }

    /// <summary>The disk's name.</summary>
    public string Name { get; }

    /// <summary>The top of the chain.</summary>
    public DirtyTrackingNode Tracking { get; }

    /// <summary>The handle on the chain.</summary>
    public BlockDevice Device { get; }

    /// <summary>Orders chains whose disks have one name, as a disk that is being closed and the next one of its name.</summary>
    public long Serial { get; } = Interlocked.Increment(ref s_lastSerial);

    /// <summary>Held by the one change that runs. <see cref="ChainChange"/> takes it.</summary>
    public SemaphoreSlim Lock { get; } = new(1, 1);

    /// <summary>One change at one instant, in which no request runs.</summary>
    /// <param name="change">The change; one that throws has changed nothing.</param>
    /// <param name="cancellationToken">Ends the wait for the lock.</param>
    /// <exception cref="BlockException"><see cref="BlockErrors.Closed"/>, or what the change throws.</exception>
    public ValueTask ChangeAsync(Action change, CancellationToken cancellationToken) => ChainChange.RunAsync(
        [this], running => running.AtInstantAsync(new ChainStep(change)), cancellationToken);
}
