// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Backups.Offline;
using Fleece.Block;
using Fleece.Images;
using Fleece.Nbd;

namespace Fleece;

/// <summary>Compare-FleeceImage: tells whether two images hold the same bytes.</summary>
[Cmdlet(VerbsData.Compare, "FleeceImage", DefaultParameterSetName = PathSet)]
[OutputType(typeof(ImageComparison))]
public sealed class CompareFleeceImageCommand : ImageCommand
{
    /// <summary>The other image, with wildcards that fit one file, or an NBD URI.</summary>
    [Parameter(Mandatory = true, Position = 1)]
    [SupportsWildcards]
    [NoScriptBlock]
    public string DifferencePath { get; set; } = string.Empty;

    /// <summary>The format of the one, where the content must not decide it.</summary>
    [Parameter(ValueFromPipelineByPropertyName = true)]
    public ImageFormat? Format { get; set; }

    /// <summary>The format of the other, where the content must not decide it.</summary>
    [Parameter]
    public ImageFormat? DifferenceFormat { get; set; }

    /// <summary>Use a data file that lies outside the folder of the image that names it.</summary>
    [Parameter]
    public SwitchParameter AllowOutsideDataFile { get; set; }

    /// <summary>Treat both images as from a stranger: refuse files that they name outside their folder, and bound sizes and time.</summary>
    [Parameter]
    public SwitchParameter Untrusted { get; set; }

    /// <inheritdoc/>
    private protected override void Process(string address)
    {
        ImageSource first = Open(address, nameof(Format), Format);
        ImageSource other = OpenOther(first);
        ImageComparer comparer = new(first, other);
        try
        {
            TellWarning(first.TakeWarning());
            TellWarning(other.TakeWarning());
            ByteProgress progress = new(this, $"Comparing {first.Id}", comparer.SizeBytes);
            while (Wait(comparer.StepAsync(StopToken)))
            {
                progress.Report(comparer.ComparedBytes);
            }

            progress.Complete();
            WriteObject(comparer.Result);
        }
        finally
        {
            Wait(comparer.DisposeAsync());
        }
    }

    private ImageSource OpenOther(ImageSource first)
    {
        try
        {
            return Open(ResolveOne(DifferencePath), nameof(DifferenceFormat), DifferenceFormat);
        }
        catch
        {
            Wait(first.DisposeAsync());
            throw;
        }
    }

    private string ResolveOne(string address)
    {
        IReadOnlyList<string> found = NbdUri.IsUri(address) ? [ResolveAddress(address)] : ResolveWildcards(address);
        return found is [string one] ? one : throw new BlockException(
            BlockErrors.InvalidArgument,
            $"'{address}' fits {found.Count} files, and each image is compared with one. Name it with -{nameof(DifferencePath)}.",
            address);
    }

    private ImageSource Open(string address, string parameter, ImageFormat? format)
    {
        ImageOpenOptions options = new()
        {
            Format = format,
            Parameters = ImageParameters.Default with { Format = $"-{parameter}" },
            AllowsOutsideDataFile = AllowOutsideDataFile,
            Untrusted = Untrusted ? UntrustedLimits.Default : null,
        };
        ImageSource source = Wait(ImageSource.OpenAsync(address, options, NbdUri.IsUri(address) ? ClientTls : null, StopToken));
        TellRawByName(address, parameter, format, source.Format);
        return source;
    }
}
