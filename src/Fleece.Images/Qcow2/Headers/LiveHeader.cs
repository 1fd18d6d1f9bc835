// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Qcow2.Foundation;

namespace Fleece.Images.Qcow2.Headers;

/// <summary>The parts of the header that change while the image is open: its extensions and the autoclear bits.</summary>
/// <remarks>
/// <para>Every change of the image begins here: an autoclear bit says that an extension, such as the dirty bitmaps, agrees with
/// the data, so the bits that Fleece does not keep right are cleared on disk before the first change.</para>
/// <para>Threading. Any thread; <see cref="BeginChange"/> and <see cref="NoteChange"/> under the metadata lock.</para>
/// </remarks>
internal sealed class LiveHeader
{
    private readonly MetadataFile _file;
    private readonly Qcow2Header _header;
    private readonly Lock _sync;
    private ulong _keptAutoclear = Qcow2Header.MaintainedAutoclear;
    private volatile bool _mustClearAutoclear;

    /// <param name="file">The image.</param>
    /// <param name="header">The header as it was read.</param>
    /// <param name="sync">The metadata lock.</param>
    public LiveHeader(MetadataFile file, Qcow2Header header, Lock sync)
    {
        _file = file;
        _header = header;
        _sync = sync;
        Extensions = header.Extensions;
        AutoclearFeatures = header.AutoclearFeatures;
        _mustClearAutoclear = (AutoclearFeatures & ~_keptAutoclear) != 0;
    }

    /// <summary>True when something has changed since the image was opened.</summary>
    public bool HasChanged { get; private set; }

    /// <summary>The header extensions as they are on disk.</summary>
    public IReadOnlyList<HeaderExtension> Extensions { get; private set; }

    /// <summary>The autoclear bits as they are on disk.</summary>
    public ulong AutoclearFeatures { get; private set; }

    /// <summary>Takes back what extensions claim of the data, before the first change.</summary>
    public void PrepareForChange()
    {
        if (!_mustClearAutoclear)
        {
            return;
        }

        lock (_sync)
        {
            NoteChange();
        }
    }

    /// <exception cref="BlockException">A metadata write has failed, so the image takes no more changes.</exception>
    public void ThrowIfPoisoned() => _file.Poison.ThrowIfSet();

    /// <summary>Begins a change of the tables, under the lock.</summary>
    /// <inheritdoc cref="ThrowIfPoisoned"/>
    public void BeginChange()
    {
        ThrowIfPoisoned();
        NoteChange();
    }

    /// <summary>As <see cref="PrepareForChange"/>, under the lock, and notes that the image has changed.</summary>
    public void NoteChange()
    {
        HasChanged = true;
        if (_mustClearAutoclear)
        {
            WriteAutoclear(AutoclearFeatures & _keptAutoclear);
            _mustClearAutoclear = false;
        }
    }

    /// <summary>Says that a feature's data is kept right from now on, so that its autoclear bit stays when the image is
    /// changed. To be called before the first change.</summary>
    public void KeepAutoclear(ulong bit)
    {
        lock (_sync)
        {
            _keptAutoclear |= bit;
            _mustClearAutoclear = (AutoclearFeatures & ~_keptAutoclear) != 0;
        }
    }

    /// <summary>Sets or clears autoclear bits, durably.</summary>
    public void SetAutoclear(ulong bits, bool isSet)
    {
        lock (_sync)
        {
            BeginChange();
            WriteAutoclear(isSet ? AutoclearFeatures | bits : AutoclearFeatures & ~bits);
        }
    }

    /// <summary>Adds, replaces or, with null, removes an extension; all others stay as they are. Durable.</summary>
    /// <exception cref="BlockException">InvalidArgument: it does not fit the first cluster; write errors, which poison the
    /// image.</exception>
    public void SetExtension(uint type, byte[]? data)
    {
        lock (_sync)
        {
            BeginChange();
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
