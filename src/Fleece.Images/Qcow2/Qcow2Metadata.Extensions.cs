// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Images.Qcow2;

/// <content>
/// What header extensions that keep data of their own in the image, such as dirty bitmaps, do with it. To store something:
/// <see cref="AllocateMetadata"/>, <see cref="WriteMetadata"/>, a flush of the node (now the clusters are counted and
/// filled, durably), then <see cref="SetExtension"/> and <see cref="SetAutoclear"/>, and only then
/// <see cref="FreeMetadata"/> of what it replaces. A crash in between leaks clusters and breaks nothing.
/// </content>
internal sealed partial class Qcow2Metadata
{
    private ulong _keptAutoclear = Qcow2Header.MaintainedAutoclear;

    /// <summary>The header extensions as they are on disk.</summary>
    public IReadOnlyList<HeaderExtension> Extensions { get; private set; }

    /// <summary>The autoclear bits as they are on disk.</summary>
    public ulong AutoclearFeatures { get; private set; }

    /// <summary>Says that a feature's data is kept right from now on, so that its autoclear bit stays when the image is
    /// changed. To be called before the first change.</summary>
    public void KeepAutoclear(ulong bit)
    {
        lock (Sync)
        {
            _keptAutoclear |= bit;
            _mustClearAutoclear = (AutoclearFeatures & ~_keptAutoclear) != 0;
        }
    }

    /// <summary>Sets or clears autoclear bits, durably.</summary>
    public void SetAutoclear(ulong bits, bool isSet)
    {
        lock (Sync)
        {
            Poison.ThrowIfSet();
            PrepareLocked();
            WriteAutoclear(isSet ? AutoclearFeatures | bits : AutoclearFeatures & ~bits);
        }
    }

    /// <summary>Contiguous clusters that are counted and read as zeros; nothing leads to them yet.</summary>
    /// <returns>Their offset in the file.</returns>
    public long AllocateMetadata(int clusters)
    {
        lock (Sync)
        {
            Poison.ThrowIfSet();
            PrepareLocked();
            try
            {
                return Allocator!.AllocateContiguous(clusters) << _clusterBits;
            }
            catch (BlockException failure) when (Allocator!.IsTorn)
            {
                Poison.Set(failure);
                throw;
            }
        }
    }

    /// <summary>Writes into clusters of <see cref="AllocateMetadata"/>, or of an extension.</summary>
    public void WriteMetadata(long offsetBytes, ReadOnlySpan<byte> data)
    {
        Poison.ThrowIfSet();
        PrepareForChange();
        _file.Write(offsetBytes, data);
    }

    /// <summary>
    /// Gives clusters back that nothing on disk leads to any more; they are used again after the next flush. Those that are
    /// not what they should be, owned once and by no table, are left alone: leaked, not shared.
    /// </summary>
    public void FreeMetadata(IEnumerable<long> clusters)
    {
        lock (Sync)
        {
            Poison.ThrowIfSet();
            PrepareLocked();
            foreach (long cluster in clusters.Distinct())
            {
                if (Refcounts!.Get(cluster) == 1 && !_ownClusters!.Contains(cluster))
                {
                    FreeHost(cluster);
                }
            }
        }
    }

    /// <summary>Adds, replaces or, with null, removes an extension; all others stay as they are. Durable.</summary>
    /// <exception cref="BlockException">InvalidArgument: it does not fit the first cluster; write errors, which poison the
    /// image.</exception>
    public void SetExtension(uint type, byte[]? data)
    {
        lock (Sync)
        {
            Poison.ThrowIfSet();
            PrepareLocked();
            List<HeaderExtension> extensions = [.. Extensions];
            int index = extensions.FindIndex(extension => extension.Type == type);
            if (index >= 0)
            {
                extensions.RemoveAt(index);
            }

            if (data is not null)
            {
                extensions.Insert(index >= 0 ? index : extensions.Count, new HeaderExtension(type, data));
            }

            Qcow2HeaderWriter.WriteExtensions(_file, _header, extensions);
            Extensions = extensions;
        }
    }

    private void WriteAutoclear(ulong features)
    {
        Qcow2HeaderWriter.WriteAutoclear(_file, features);
        AutoclearFeatures = features;
    }
}
