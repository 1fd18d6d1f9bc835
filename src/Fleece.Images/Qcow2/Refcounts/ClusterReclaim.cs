// SPDX-License-Identifier: MIT
using Fleece.Images.Container;
using Fleece.Images.Qcow2.Foundation;
using Fleece.Images.Qcow2.Headers;

namespace Fleece.Images.Qcow2.Refcounts;

/// <summary>Takes freed host clusters through their two gates (<see cref="FreedClusters"/>) back to the allocator.</summary>
/// <remarks>Threading. <see cref="Reclaim"/> and <see cref="NeedsWriteBack"/> from any thread, the rest under the metadata
/// lock.</remarks>
internal sealed class ClusterReclaim(
    MetadataFile file, Qcow2Header header, ClusterAllocator allocator, Epochs epochs, Lock sync)
{
    private readonly FreedClusters _freed = new(header.ClusterBits);
    private long _nextWriteBack = 1;
    private long _capturedWriteBack;
    private long _finishedWriteBack;

    /// <summary>True when so much waits that a write-back should let it go.</summary>
    public bool NeedsWriteBack => _freed.NeedsWriteBack;

    /// <summary>Starts a write-back, after the one before has ended; its changes are those made so far.</summary>
    public void BeginWriteBack() => _capturedWriteBack = _nextWriteBack++;

    /// <summary>Notes that the changes of the write-back are durable.</summary>
    public void EndWriteBack() => _finishedWriteBack = _capturedWriteBack;

    /// <summary>Takes a cluster whose entry has just been changed in memory.</summary>
    public void Add(long cluster, bool isShared) => _freed.Add(cluster, epochs.Current, _nextWriteBack, isShared);

    /// <summary>Zeroes freed clusters that nothing uses any more and makes those free that the disk has forgotten.</summary>
    /// <remarks>Not from within a request that is counted in <see cref="Epochs"/>: it would wait for itself.</remarks>
    public void Reclaim()
    {
        while (true)
        {
            FreedRun run;
            lock (sync)
            {
                if (file.Poison.IsSet)
                {
                    return;
                }

                if (_freed.TryTakeForgotten(_finishedWriteBack, out FreedRun forgotten))
                {
                    Release(forgotten);
                    continue;
                }

                epochs.Advance();
                if (!_freed.TryTakeUnused(epochs, out run))
                {
                    return;
                }

                if (run.IsShared)
                {
                    _freed.AddZeroed(run);
                    continue;
                }
            }

            Zero(run);
        }
    }

    private void Release(FreedRun run)
    {
        if (run.IsShared)
        {
            allocator.ReleaseShared(run.Cluster, run.Count);
        }
        else
        {
            allocator.Release(run.Cluster, run.Count);
        }
    }

    private void Zero(FreedRun run)
    {
        bool isZeroed = false;
        try
        {
            file.Zero(run.Cluster << header.ClusterBits, run.Count << header.ClusterBits);
            isZeroed = true;
        }
        finally
        {
            lock (sync)
            {
                if (isZeroed)
                {
                    _freed.AddZeroed(run);
                }
                else
                {
                    _freed.Forget(run);
                }
            }
        }
    }
}
