// SPDX-License-Identifier: MIT
using Fleece.Images.Container;
using Fleece.Images.Qcow2.Foundation;

namespace Fleece.Images.Qcow2.Refcounts;

/// <summary>A run of host clusters on its way from being freed to being free.</summary>
/// <param name="Cluster">First cluster.</param>
/// <param name="Count">Clusters in the run.</param>
/// <param name="Epoch">When requests could last look the mapping up.</param>
/// <param name="WriteBack">The write-back that takes the mapping off the disk.</param>
/// <param name="IsShared">True when others use the clusters too, or may: they are counted down and not zeroed.</param>
internal readonly record struct FreedRun(long Cluster, long Count, long Epoch, long WriteBack, bool IsShared);

/// <summary>Clusters whose mapping is gone in memory, in two queues.</summary>
/// <remarks>
/// <para>A cluster passes two gates before it is used again. First, every request that may have looked its mapping up
/// has ended (<see cref="Epochs"/>): only then is it zeroed, because a write that was under way could still land in it,
/// and only then could new content be confused with old by a read. Second, a write-back has made the disk forget the
/// mapping: otherwise a crash would leave two guest clusters on one host cluster. A shared cluster passes the same gates
/// and loses one count instead of its content.</para>
/// <para>Threading. Only under the metadata lock; <see cref="NeedsWriteBack"/> from any thread.</para>
/// </remarks>
internal sealed class FreedClusters(int clusterBits)
{
    private readonly Queue<FreedRun> _inUse = new();
    private readonly Queue<FreedRun> _zeroed = new();
    private FreedRun _newest;
    private long _waitingBytes;
    private int _waitingRuns;

    /// <summary>True when so much waits that a write-back should let it go.</summary>
    public bool NeedsWriteBack =>
        Volatile.Read(ref _waitingBytes) >= Qcow2Limits.MaxFreedBytes
        || Volatile.Read(ref _waitingRuns) >= Qcow2Limits.MaxFreedRuns;

    /// <summary>Takes a cluster whose entry has just been changed in memory.</summary>
    public void Add(long cluster, long epoch, long writeBack, bool isShared)
    {
        Volatile.Write(ref _waitingBytes, _waitingBytes + (1L << clusterBits));
        if (_newest.Count != 0 && _newest.Cluster + _newest.Count == cluster && _newest.Epoch == epoch
            && _newest.WriteBack == writeBack && _newest.IsShared == isShared && _newest.Count < Qcow2Limits.EntriesPerHold)
        {
            _newest = _newest with { Count = _newest.Count + 1 };
            return;
        }

        CloseNewest();
        _newest = new FreedRun(cluster, 1, epoch, writeBack, isShared);
        Volatile.Write(ref _waitingRuns, _waitingRuns + 1);
    }

    /// <summary>Takes out a run that no request uses any more, to be zeroed.</summary>
    public bool TryTakeUnused(Epochs epochs, out FreedRun run)
    {
        CloseNewest();
        if (_inUse.TryPeek(out run) && epochs.IsOver(run.Epoch))
        {
            _inUse.Dequeue();
            return true;
        }

        return false;
    }

    /// <summary>Takes a run back that has been zeroed.</summary>
    public void AddZeroed(FreedRun run) => _zeroed.Enqueue(run);

    /// <summary>Takes out a zeroed run whose mapping the disk has forgotten.</summary>
    public bool TryTakeForgotten(long finishedWriteBack, out FreedRun run)
    {
        if (_zeroed.TryPeek(out run) && run.WriteBack <= finishedWriteBack)
        {
            _zeroed.Dequeue();
            Forget(run);
            return true;
        }

        return false;
    }

    /// <summary>Gives a run up that could not be zeroed; its clusters are leaked until the image is checked.</summary>
    public void Forget(FreedRun run)
    {
        Volatile.Write(ref _waitingBytes, _waitingBytes - (run.Count << clusterBits));
        Volatile.Write(ref _waitingRuns, _waitingRuns - 1);
    }

    private void CloseNewest()
    {
        if (_newest.Count != 0)
        {
            _inUse.Enqueue(_newest);
            _newest = default;
        }
    }
}
