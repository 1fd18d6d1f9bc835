// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.DirtyBitmaps;
using Fleece.Images.Qcow2.Bitmaps;

namespace Fleece.Images.Qcow2;

/// <content>The image's dirty bitmaps (qcow2.txt, "Bitmaps extension"). Version 2 has none.</content>
internal sealed partial class Qcow2Node : IBitmapImage
{
    private readonly List<long> _bitmapClusters = [];
    private List<BitmapEntry> _bitmapEntries = [];
    private BlockRange _bitmapDirectory;

    /// <inheritdoc/>
    public bool HasRoomForBitmaps => _header.Version >= 3;

    /// <inheritdoc/>
    public string? BitmapsNote { get; private set; }

    private bool HasValidBitmaps => (_metadata.AutoclearFeatures & Qcow2Header.BitmapsBit) != 0;

    /// <inheritdoc/>
    public IReadOnlyList<StoredBitmap> ReadBitmaps()
    {
        if (!HasRoomForBitmaps || _metadata.Extensions.Find(HeaderExtensions.Bitmaps) is not { } extension)
        {
            return [];
        }

        if (!HasValidBitmaps)
        {
            // Their clusters may hold something else by now, so they are neither read nor freed.
            BitmapsNote = "A program that does not know dirty bitmaps has changed the image, so the bitmaps in it are void.";
            return [];
        }

        _bitmapDirectory = BitmapDirectory.Locate(_file.Path, extension, _header, out int count);
        _bitmapEntries = BitmapDirectory.Read(_file, _bitmapDirectory, count);
        BitmapTable.AddRun(_bitmapClusters, _header, _bitmapDirectory.OffsetBytes, _bitmapDirectory.LengthBytes);
        return [.. _bitmapEntries.Select(ReadBitmap)];
    }

    /// <inheritdoc/>
    public void KeepBitmaps()
    {
        _metadata.KeepAutoclear(Qcow2Header.BitmapsBit);
        if (_bitmapEntries.Count != 0)
        {
            // In place: only flags change, and a part of them set is as good as none.
            MetadataFile file = new(_file, _metadata.Poison);
            file.Write(
                _bitmapDirectory.OffsetBytes, BitmapDirectory.Encode([.. _bitmapEntries.Select(entry => entry with { IsInUse = true })]));
            file.Flush();
        }
    }

    /// <inheritdoc/>
    public void WriteBitmaps(IReadOnlyList<StoredBitmap> bitmaps)
    {
        ArgumentNullException.ThrowIfNull(bitmaps);
        if (bitmaps.Count == 0 && _bitmapEntries.Count == 0)
        {
            return;
        }

        if (!HasRoomForBitmaps)
        {
            throw Qcow2Fault.Unsupported(
                _file.Path, "a qcow2 image of version 2 has no place for dirty bitmaps. Make it one of version 3 with 'qemu-img amend'");
        }

        // The header must never lead to a directory that the write-back did not store.
        _metadata.Poison.ThrowIfSet();
        MetadataFile file = new(_file, _metadata.Poison);
        BitmapEntry[] entries = [.. bitmaps.Select(bitmap => new BitmapEntry(
            bitmap.Name,
            bitmap.GranularityBytes,
            BitmapTable.Write(file, _metadata, _header, bitmap.GranularityBytes, bitmap.Bits),
            BitmapTable.CountEntries(_header, bitmap.GranularityBytes),
            IsInUse: bitmap.Bits is null,
            bitmap.IsEnabled))];
        byte[]? extension = entries.Length == 0 ? null : WriteDirectory(file, entries);

        // Counted and stored before anything points to it; then one write makes the header point to the new directory.
        _writeBack.Finish();
        SwitchDirectory(extension);
        _metadata.FreeMetadata(_bitmapClusters);
        _bitmapClusters.Clear();
        _bitmapEntries.Clear();
    }

    private StoredBitmap ReadBitmap(BitmapEntry entry)
    {
        List<long> clusters = [];
        DirtyBitmap? bits = null;
        string? fault = entry.IsInUse
            ? "A program that recorded it had the image open and ended without closing it (the image has it marked as in use)."
            : null;
        try
        {
            bits = BitmapTable.Read(_file, _header, entry, clusters);
            _bitmapClusters.AddRange(clusters);
        }
        catch (BlockException e) when (e.Kind is BlockErrorKind.Corrupt or BlockErrorKind.InvalidArgument)
        {
            // What a damaged table names may belong to others, so its clusters are left alone.
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

    private byte[] WriteDirectory(MetadataFile file, BitmapEntry[] entries)
    {
        byte[] directory = BitmapDirectory.Encode(entries);
        int clusters = (int)((directory.Length + (long)_header.ClusterBytes - 1) >> _header.ClusterBits);
        long offsetBytes = _metadata.AllocateMetadata(clusters);
        file.Write(offsetBytes, directory);
        return BitmapDirectory.EncodeExtension(entries.Length, new BlockRange(offsetBytes, directory.Length));
    }

    // The autoclear bit says that the extension counts: it goes before the extension does, and comes after it.
    private void SwitchDirectory(byte[]? extension)
    {
        if (extension is null)
        {
            _metadata.SetAutoclear(Qcow2Header.BitmapsBit, isSet: false);
        }

        _metadata.SetExtension(HeaderExtensions.Bitmaps, extension);
        if (extension is not null && !HasValidBitmaps)
        {
            _metadata.SetAutoclear(Qcow2Header.BitmapsBit, isSet: true);
        }
    }
}
