// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.DirtyBitmaps;
using Fleece.Disks.Bitmaps.Sidecars;
using Fleece.Disks.Chain;
using Fleece.Disks.Names;
using Fleece.Disks.Storage;

namespace Fleece.Disks.Bitmaps;

/// <summary>The dirty bitmaps of one mounted disk.</summary>
/// <remarks>
/// <para>Whatever changes which bitmaps record happens with the disk quiesced, so a change that completed before a call is in the bitmaps
/// that recorded before it, and one that starts after the call's return in those that record after it.</para>
/// <para>Threading. All members are safe from any thread; changes take the disk's chain lock. Names are found as they are stored,
/// or else as <see cref="Bitmap.Name"/> shows them, or else without regard to case.</para>
/// <para>Errors. <see cref="DiskErrors.BitmapUnknown"/>, <see cref="DiskErrors.BitmapNameInUse"/>,
/// <see cref="DiskErrors.BitmapBusy"/>, <see cref="DiskErrors.BitmapUntrusted"/>, <see cref="DiskErrors.BitmapOfParent"/>,
/// <see cref="DiskErrors.BitmapStoreUnusable"/>, <see cref="BlockErrors.ReadOnly"/>,
/// <see cref="DiskErrors.DiskShared"/>, <see cref="BlockErrors.InvalidArgument"/>; on a disk that has failed, the kind of its
/// failed flush. A call that fails has changed nothing.</para>
/// </remarks>
internal sealed class DiskBitmaps
{
    private readonly DiskChain _chain;
    private readonly IReadOnlyList<string> _notes = [];
    private readonly IReadOnlyList<Bitmap> _ofParents = [];
    private DirtyBitmap[] _gauges = [];

    /// <summary>Reads the bitmaps of a disk that is being mounted.</summary>
    /// <param name="disk">The disk.</param>
    /// <param name="chain">Its chain.</param>
    /// <param name="store">How its own bitmaps are kept.</param>
    /// <param name="turns">The sessions of earlier processes that come back, or whose end is finished now. All others are over.</param>
    /// <exception cref="BlockException">Why a writable image's own bitmaps can't be kept.</exception>
    internal DiskBitmaps(DiskStorage disk, DiskChain chain, BitmapStore store, IReadOnlyList<StoredTurn> turns)
    {
        Storage = disk;
        Store = store;
        _chain = chain;
        if (IsPersistent)
        {
            BitmapReader reader = new(disk, store.Image, turns);
            store.Take(reader.Read(), reader.Fault);
            _ofParents = reader.OfParents;
            _notes = reader.Notes;
        }
    }

    /// <summary>The bitmaps, sorted by name: the disk's own, and those of parent images whose names the disk has not.</summary>
    /// <exception cref="BlockException"><see cref="DiskErrors.BitmapStoreUnusable"/></exception>
    public IReadOnlyList<Bitmap> All
    {
        get
        {
            CheckStore();
            return [.. Listed().OrderBy(bitmap => bitmap.Name, StringComparer.OrdinalIgnoreCase)];
        }
    }

    /// <summary>What the user should hear of how the bitmaps were found when the disk was mounted; whole sentences,
    /// printable.</summary>
    public IReadOnlyList<string> Notes => [.. _notes.Concat(Store.Notes).Select(note => PrintableText.Of(note))];

    /// <summary>True when bitmaps survive the dismount.</summary>
    public bool IsPersistent => Storage.KeepsBitmaps;

    /// <summary>True when the disk can have bitmaps.</summary>
    public bool IsUsable => Store.Fault is null;

    /// <summary>Why a killed process would lose what is recorded now; null while nothing would be lost.</summary>
    public string? JournalFault => Store.JournalFault?.Message;

    /// <summary>The disk.</summary>
    internal DiskStorage Storage { get; }

    /// <summary>How the disk's own bitmaps are kept.</summary>
    internal BitmapStore Store { get; }

    /// <summary>The bitmap of that name.</summary>
    public Bitmap Find(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        CheckStore();
        return Find(Listed(), name) ?? throw new BlockException(
            DiskErrors.BitmapUnknown,
            $"The disk '{Storage.Name}' has no bitmap named '{name}'. Get-FleeceBitmap lists those it has.",
            Storage.Path);
    }

    /// <summary>The bitmap whose name is stored or shown exactly so; null for none.</summary>
    /// <exception cref="BlockException"><see cref="DiskErrors.BitmapStoreUnusable"/></exception>
    public Bitmap? FindExact(string name)
    {
        CheckStore();
        return FindExact(Listed(), name);
    }

    /// <summary>Makes a bitmap that records from now on.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="granularityBytes">512 B to 2 GiB, a power of two.</param>
    /// <param name="isEnabled">False for one that records nothing until it is enabled.</param>
    /// <param name="cancellationToken">Ends the wait for the disk's lock.</param>
    public async ValueTask<Bitmap> CreateAsync(
        string name,
        long granularityBytes = DirtyBitmap.DefaultGranularityBytes,
        bool isEnabled = true,
        CancellationToken cancellationToken = default)
    {
        Bitmap? made = null;
        await ChangeAsync(
            () => made = Add(name, granularityBytes, isEnabled, isHidden: false),
            cancellationToken).ConfigureAwait(false);
        return made!;
    }

    /// <summary>Forgets a bitmap.</summary>
    public ValueTask RemoveAsync(string name, CancellationToken cancellationToken = default) => ChangeAsync(
        () =>
        {
            Bitmap bitmap = FindOwn(name);
            bitmap.CheckFree();
            Store.Keep(Without(bitmap));
            Store.FreeArea(bitmap.Area);
        },
        cancellationToken);

    /// <summary>Empties a bitmap. One that was not trusted is from now on.</summary>
    public ValueTask ClearAsync(string name, CancellationToken cancellationToken = default) => ChangeAsync(
        () =>
        {
            Bitmap bitmap = FindChangeable(name);
            bitmap.CheckFree();
            Empty(bitmap);
        },
        cancellationToken);

    /// <summary>Lets a bitmap record from now on.</summary>
    public ValueTask EnableAsync(string name, CancellationToken cancellationToken = default) =>
        SetEnabledAsync(name, isEnabled: true, cancellationToken);

    /// <summary>Lets a bitmap record nothing from now on; it keeps what it has.</summary>
    public ValueTask DisableAsync(string name, CancellationToken cancellationToken = default) =>
        SetEnabledAsync(name, isEnabled: false, cancellationToken);

    /// <summary>Adds to a bitmap what is marked in others, widened to its granularity.</summary>
    public async ValueTask MergeAsync(
        string name, IReadOnlyCollection<string> sourceNames, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(sourceNames);
        CheckMayChange();
        await ChainChange.RunAsync([_chain], _ => Merge(), cancellationToken).ConfigureAwait(false);

        ValueTask Merge()
        {
            Bitmap target = FindChangeable(name);
            Bitmap[] all = [target, .. sourceNames.Select(Find)];
            foreach (Bitmap bitmap in all)
            {
                bitmap.CheckFree();
                bitmap.CheckTrusted();
            }

            // Bits are only added, which guests' writes do at the same time; so the disk need not wait.
            foreach (Bitmap source in all.Skip(1).Where(source => source != target))
            {
                target.Bits.Merge(source.Bits);
            }

            return default;
        }
    }

    /// <summary>The bitmap of that name, which is the disk's own.</summary>
    /// <exception cref="BlockException"><see cref="DiskErrors.BitmapUnknown"/>, <see cref="DiskErrors.BitmapOfParent"/></exception>
    internal Bitmap FindOwn(string name)
    {
        Bitmap bitmap = Find(name);
        bitmap.CheckOwn();
        return bitmap;
    }

    private Bitmap FindChangeable(string name)
    {
        Bitmap bitmap = FindOwn(name);
        bitmap.CheckNotOfGuest();
        return bitmap;
    }

    /// <summary>The disk's own bitmap of that name; null for none.</summary>
    internal Bitmap? TryFindOwn(string name)
    {
        CheckStore();
        return Find(Named(), name);
    }

    private Bitmap[] Named() => Array.FindAll(Store.Bitmaps, bitmap => !bitmap.IsHidden);

    // The name of the top image wins, so a bitmap made now hides a parent's.
    private Bitmap[] Listed()
    {
        Bitmap[] own = Named();
        return [.. own, .. _ofParents.Where(bitmap => !Array.Exists(own, other => other.ExactName == bitmap.ExactName))];
    }

    private static Bitmap? Find(Bitmap[] among, string name) =>
        FindExact(among, name) ??
        Array.Find(among, bitmap => string.Equals(bitmap.Name, PrintableText.Of(name), StringComparison.OrdinalIgnoreCase));

    private static Bitmap? FindExact(Bitmap[] among, string name) =>
        Array.Find(among, bitmap => bitmap.ExactName == name) ?? Array.Find(among, bitmap => bitmap.Name == name);

    /// <summary>Adds a bitmap. The chain is locked.</summary>
    internal Bitmap Add(
        string name, long granularityBytes, bool isEnabled, bool isHidden, Bitmap? predecessor = null, bool isPending = false)
    {
        if (!isHidden)
        {
            BitmapNames.Check(name);
            QemuBitmapName.CheckNew(name);
            if (TryFindOwn(name) is not null)
            {
                throw new BlockException(
                    DiskErrors.BitmapNameInUse,
                    $"The disk '{Storage.Name}' has a bitmap named '{name}' already. Give another name, or remove it first.",
                    Storage.Path);
            }
        }

        if (Store.Bitmaps.Length == SidecarDirectory.MaximumBitmaps)
        {
            throw new BlockException(
                BlockErrors.InvalidArgument,
                $"The disk '{Storage.Name}' has {Store.Bitmaps.Length} bitmaps, those of running sessions included, and takes no more. " +
                "Remove one.",
                Storage.Path);
        }

        (DirtyBitmap bits, SidecarArea? area) = Store.TakeBits(granularityBytes);
        Bitmap bitmap = new(Storage, name, bits, area, isEnabled)
        {
            IsHidden = isHidden,
            IsPending = isPending,
            IsWaiting = isPending,
            Predecessor = predecessor,
        };
        Store.Keep([.. Store.Bitmaps, bitmap], undo: () => Store.FreeArea(area));
        return bitmap;
    }

    /// <summary>Forgets a bitmap; a sidecar that can't follow is given up. The chain is locked and the disk quiesced, or the bitmap never
    /// recorded.</summary>
    internal void DropOrGiveUp(Bitmap bitmap)
    {
        Store.KeepOrGiveUp(Without(bitmap));
        UpdateRecording();
        Store.FreeArea(bitmap.Area);
    }

    /// <summary>Gives a bitmap what its successor recorded and forgets the successor, in one step. The chain is locked and the disk
    /// quiesced.</summary>
    internal void Replace(Bitmap bitmap, Bitmap successor, Guid? baselineId)
    {
        SidecarArea? oldArea = bitmap.Area;
        bitmap.BaselineId = baselineId;
        (bitmap.Bits, bitmap.Area) = (successor.Bits, successor.Area);
        Store.KeepOrGiveUp(Without(successor));
        Store.FreeArea(oldArea);
    }

    /// <summary>Makes what was read record. Before the first request; for a writable disk.</summary>
    /// <exception cref="BlockException">Why a writable image's own bitmaps can't be kept.</exception>
    internal void Begin()
    {
        Store.Begin();
        UpdateRecording();
    }

    /// <summary>Lets the bitmaps record that are to. The disk is quiesced.</summary>
    internal void UpdateRecording() =>
        _chain.Tracking.Recording = [.. Store.Bitmaps.Where(bitmap => bitmap.Records).Select(bitmap => bitmap.Bits), .. _gauges];

    /// <summary>Has bits record that belong to no bitmap of the disk, and are not kept.</summary>
    internal ValueTask AddGaugeAsync(DirtyBitmap bits, CancellationToken cancellationToken) => _chain.ChangeAsync(
        () =>
        {
            _gauges = [.. _gauges, bits];
            UpdateRecording();
        },
        cancellationToken);

    /// <summary>Has such bits record no more. A disk that was dismounted meanwhile is none to change.</summary>
    internal async ValueTask RemoveGaugeAsync(DirtyBitmap bits)
    {
        try
        {
            await _chain.ChangeAsync(
                () =>
                {
                    _gauges = [.. _gauges.Where(gauge => gauge != bits)];
                    UpdateRecording();
                },
                CancellationToken.None).ConfigureAwait(false);
        }
        catch (BlockException e) when (e.Kind == BlockErrors.Closed)
        {
            return;
        }
    }

    internal void CheckMayChange()
    {
        CheckStore();
        if (Storage.IsReadOnly)
        {
            throw new BlockException(
                BlockErrors.ReadOnly,
                $"The disk '{Storage.Name}' is mounted read-only, so its bitmaps can't change. Mount it without -ReadOnly.",
                Storage.Path);
        }

        Storage.CheckSound();
        Storage.CheckExclusive();
    }

    private ValueTask SetEnabledAsync(string name, bool isEnabled, CancellationToken cancellationToken) => ChangeAsync(
        () =>
        {
            Bitmap bitmap = FindChangeable(name);
            bitmap.CheckFree();
            bitmap.CheckTrusted();
            (bool Is, Guid? BaselineId) before = (bitmap.IsEnabled, bitmap.BaselineId);
            bitmap.IsEnabled = isEnabled;
            bitmap.BaselineId = isEnabled ? bitmap.BaselineId : null; // It will have missed changes.
            Store.Keep(Store.Bitmaps, undo: () => (bitmap.IsEnabled, bitmap.BaselineId) = before);
        },
        cancellationToken);

    // The new, empty bits count from the moment the directory names them; the old ones are given up then.
    private void Empty(Bitmap bitmap)
    {
        (DirtyBitmap Bits, SidecarArea? Area, string? Reason, Guid? BaselineId) old =
            (bitmap.Bits, bitmap.Area, bitmap.Reason, bitmap.BaselineId);
        (bitmap.Bits, bitmap.Area) = Store.TakeBits(bitmap.GranularityBytes);
        bitmap.Reason = null;
        bitmap.BaselineId = null;
        Store.Keep(Store.Bitmaps, undo: () =>
        {
            Store.FreeArea(bitmap.Area);
            (bitmap.Bits, bitmap.Area, bitmap.Reason, bitmap.BaselineId) = old;
        });
        Store.FreeArea(old.Area);
    }

    private async ValueTask ChangeAsync(Action change, CancellationToken cancellationToken)
    {
        CheckMayChange();
        await _chain.ChangeAsync(
            () =>
            {
                change();
                UpdateRecording();
            },
            cancellationToken).ConfigureAwait(false);
    }

    private void CheckStore()
    {
        if (Store.Fault is { } fault)
        {
            throw new BlockException(fault.Kind, fault.Message, fault.Path, operation: fault.Operation, cause: fault);
        }
    }

    private Bitmap[] Without(Bitmap bitmap) => Array.FindAll(Store.Bitmaps, other => other != bitmap);
}
