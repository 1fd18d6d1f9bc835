// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.DirtyBitmaps;
using Fleece.Images.Container;
using Fleece.Images.Qcow2.Bitmaps;
using Fleece.Images.Qcow2.Changing;
using Fleece.Images.Qcow2.Headers;

namespace Fleece.Images.Qcow2;

/// <summary>An image's dirty bitmaps (qcow2.txt, "Bitmaps extension"). Version 2 has none.</summary>
/// <remarks>
/// Only <see cref="ReadBitmaps"/> is for an image that is open read-only.
/// <para>Threading. One caller at a time.</para>
/// <para>Ownership. It owns nothing.</para>
/// </remarks>
internal sealed class ImageBitmaps(IContainerFile file, Qcow2Header header, Qcow2Map map) : IBitmapImage
{
    private readonly LiveHeader _live = map.Header;
    private readonly List<long> _clusters = [];
    private List<BitmapEntry> _entries = [];
    private BlockRange _directory;

    public bool HasRoomForBitmaps => header.Version >= 3;

    public string? BitmapsNote { get; private set; }

    private bool IsValid => (_live.AutoclearFeatures & Qcow2Header.BitmapsBit) != 0;

    public IReadOnlyList<StoredBitmap> ReadBitmaps()
    {
        if (!HasRoomForBitmaps || _live.Extensions.Find(HeaderExtensions.Bitmaps) is not { } extension)
        {
            return [];
        }

        if (!IsValid)
        {
            // Their clusters may hold something else by now, so they are neither read nor freed.
            BitmapsNote = "A program that does not know dirty bitmaps has changed the image, so the bitmaps in it are void.";
            return [];
        }

        _directory = BitmapDirectory.Locate(file.Path, extension, header, out int count);
        _entries = BitmapDirectory.Read(file, _directory, count);
        BitmapTable.AddRun(_clusters, header, _directory.OffsetBytes, _directory.LengthBytes);
        return [.. _entries.Select(ReadOne)];
    }

    public void KeepBitmaps()
    {
        _live.KeepAutoclear(Qcow2Header.BitmapsBit);
        if (_entries.Count != 0)
        {
            // In place: only flags change, and a part of them set is as good as none.
            map.File.Write(
                _directory.OffsetBytes, BitmapDirectory.Encode([.. _entries.Select(entry => entry with { IsInUse = true })]));
            map.File.Flush();
        }
    }

    public void WriteBitmaps(IReadOnlyList<StoredBitmap> bitmaps)
    {
        ArgumentNullException.ThrowIfNull(bitmaps);
        if (bitmaps.Count == 0 && _entries.Count == 0)
        {
            return;
        }

        if (!HasRoomForBitmaps)
        {
            throw FormatFault.Qcow2.Unsupported(
                file.Path, "a qcow2 image of version 2 has no place for dirty bitmaps. Make it one of version 3 with 'qemu-img amend'");
        }

        // The header must never lead to a directory that the write-back did not store.
        map.File.Poison.ThrowIfSet();
        Qcow2Changes changes = map.Changes!;
        BitmapEntry[] entries = [.. bitmaps.Select(bitmap => new BitmapEntry(
            bitmap.Name,
            bitmap.GranularityBytes,
            BitmapTable.Write(map.File, changes.Extensions, header, bitmap.GranularityBytes, bitmap.Bits),
            BitmapTable.CountEntries(header, bitmap.GranularityBytes),
            IsInUse: bitmap.Bits is null,
            bitmap.IsEnabled))];
        byte[]? extension = entries.Length == 0 ? null : WriteDirectory(changes.Extensions, entries);

        // Counted and stored before anything points to it; then one write makes the header point to the new directory.
        changes.WriteBack.Finish();
        SwitchDirectory(extension);
        changes.Extensions.Free(_clusters);
        _clusters.Clear();
        _entries.Clear();
    }

    private StoredBitmap ReadOne(BitmapEntry entry)
    {
        List<long> clusters = [];
        DirtyBitmap? bits = null;
        string? fault = entry.IsInUse
            ? "A program that recorded it had the image open and ended without closing it (the image has it marked as in use)."
            : null;
        try
        {
            bits = BitmapTable.Read(file, header, entry, clusters);
            _clusters.AddRange(clusters);
        }
        catch (BlockException e) when (e.Kind is ImageErrors.Corrupt or BlockErrors.InvalidArgument)
        {
            // The clusters that a damaged table names may belong to others, so they are left alone.
            fault ??= e.Message;
        }

        return new StoredBitmap
        {
            Name = entry.Name,
            GranularityBytes = entry.GranularityBytes,
            IsEnabled = entry.IsEnabled,
            Fault = fault,
            Bits = fault is null ? bits : null,
        };
    }

    private byte[] WriteDirectory(ExtensionClusters clusters, BitmapEntry[] entries)
    {
        byte[] directory = BitmapDirectory.Encode(entries);
        int count = (int)((directory.Length + (long)header.ClusterBytes - 1) >> header.ClusterBits);
        long offsetBytes = clusters.Allocate(count);
        map.File.Write(offsetBytes, directory);
        return BitmapDirectory.EncodeExtension(entries.Length, new BlockRange(offsetBytes, directory.Length));
    }

    // The autoclear bit says that the extension counts: it goes before the extension does, and comes after it.
    private void SwitchDirectory(byte[]? extension)
    {
        if (extension is null)
        {
            _live.SetAutoclear(Qcow2Header.BitmapsBit, isSet: false);
        }

        _live.SetExtension(HeaderExtensions.Bitmaps, extension);
        if (extension is not null && !IsValid)
        {
            _live.SetAutoclear(Qcow2Header.BitmapsBit, isSet: true);
        }
    }
}
